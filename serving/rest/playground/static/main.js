// Starts the page: reads what the server can do, and connects the parts.

import { get } from "./api.js";
import { Chat } from "./chat.js";
import { byId, make } from "./dom.js";
import { Inspector } from "./inspector.js";
import { KeyForm } from "./key_form.js";
import { replay, verdict } from "./replay.js";
import { Settings } from "./settings.js";
import { recordOfAddress } from "./share.js";
import { Side } from "./side.js";
import { startTheme } from "./theme.js";

const limits = {};
const page = {
  settings: new Settings(byId("settings")),
  inspector: new Inspector(byId("token")),
  side: new Side(),
  keys: new KeyForm(() => start()),
  model: () => byId("model").value,
  context: () => limits.context_tokens,
};
const chat = new Chat(page);

function start() {
  return reporting(async () => {
    const { data } = await get("v1/models");
    byId("model").replaceChildren(...data.map(({ id }) => make("option", { value: id }, id)));
    await describeModel();
    await replayAddress();
  });
}

/** Runs `work`, and shows its error. */
async function reporting(work) {
  try {
    await work();
  } catch (error) {
    if (!page.keys.handle(error)) byId("composer-error").textContent = error.message;
  }
}

async function describeModel() {
  const capabilities = await get(`v1/capabilities?model=${encodeURIComponent(page.model())}`);
  Object.assign(limits, capabilities.limits);
  page.settings.describe(capabilities.endpoints["/v1/chat/completions"].fields);
}

/** Repeats the answer of the link by which the page was opened, if it was. */
async function replayAddress() {
  const record = await recordOfAddress();
  if (!record) return;
  const { request } = record;
  const place = byId("replay");
  place.hidden = false;
  place.textContent = "Repeating the answer of the link\u2026";
  const [first, ...others] = request.messages;
  const system = first.role === "system" ? first.content : "";
  page.settings.restore(request);
  page.settings.system.value = system;
  if ([...byId("model").options].some(({ value }) => value === request.model)) byId("model").value = request.model;
  chat.reset(system ? others : request.messages);
  const { answer } = chat.begin(request);
  const differences = await replay(record, answer, (branch) => chat.run(answer, branch));
  const failed = answer.shown.error || answer.shown.stopped;
  const { same, text } = failed ? { same: false, text: "The answer was not repeated to its end." } : await verdict(record, answer, differences);
  place.dataset.same = String(same);
  place.textContent = text;
}

byId("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  byId("composer-error").textContent = "";
  const text = byId("message").value;
  if (!text.trim()) return;
  if (chat.send({ role: "user", content: text })) byId("message").value = "";
});
byId("message").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  byId("composer").requestSubmit();
});
byId("stop").addEventListener("click", () => chat.stop());
byId("new").addEventListener("click", () => {
  history.replaceState(null, "", location.href.split("#")[0]);
  byId("replay").hidden = true;
  chat.reset();
  byId("message").focus();
});
byId("model").addEventListener("change", () => reporting(describeModel));
window.addEventListener("hashchange", () => location.reload());
startTheme(byId("theme"));
start();
