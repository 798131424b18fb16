// Small parts of the conversation: the empty page, and the form for the results of calls.

import { button, make } from "./dom.js";
import { EXAMPLES } from "./fields.js";

/** Returns what a new chat shows. */
export function emptyView(onexample) {
  return make(
    "section", { class: "empty" },
    make("h2", {}, "Ask something, then look at every token of the answer."),
    make("p", {}, "Point at a token to see what else was likely. Choose another one to branch from there."),
    make("ul", {}, EXAMPLES.map((example) => make("li", {}, button(example.text, () => onexample(example))))),
  );
}

/** Returns the form in which the results of tool calls are entered. */
export function resultsForm(calls, onresults) {
  const areas = calls.map((call) => make("textarea", { rows: 2, id: `result-${call.id}`, class: "code" }));
  const submit = (event) => {
    event.preventDefault();
    onresults(calls.map((call, index) => ({ role: "tool", tool_call_id: call.id, content: areas[index].value })));
  };
  return make(
    "form", { class: "results", onsubmit: submit },
    calls.map((call, index) => [
      make("label", { for: `result-${call.id}` }, `Result of ${call.function.name}`), areas[index],
    ]),
    make("div", { class: "row" }, make("button", { type: "submit", class: "accent" }, "Send results")),
  );
}
