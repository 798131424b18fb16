// A message that somebody wrote, which can be edited, sent again and removed.

import { button, make } from "./dom.js";

const NAMES = { user: "You", assistant: "Model", tool: "Tool result", system: "System" };

/**
 * Returns the element of a turn with a message.
 * @param actions `edit(text)` replaces the text and answers again, `again()` answers again, `remove()` removes the turn.
 */
export function messageView({ message }, actions) {
  const text = make("p", { class: "said" }, message.content ?? "");
  const error = make("p", { class: "error", role: "alert" });
  const node = make("article", { class: `turn ${message.role}`, "aria-label": NAMES[message.role] ?? message.role });
  const edit = () => {
    const editor = editForm(message.content ?? "", { save: actions.edit, cancel: () => editor.replaceWith(text) });
    text.replaceWith(editor);
    editor.querySelector("textarea").focus();
  };
  node.append(
    make(
      "header", {},
      make("h2", {}, NAMES[message.role] ?? message.role),
      make(
        "div", { class: "actions" },
        button("Edit", edit, { class: "quiet" }),
        message.role !== "assistant" && button("Send again", actions.again, { class: "quiet" }),
        button("Remove", actions.remove, { class: "quiet" }),
      ),
    ),
    text, ...(message.tool_calls ?? []).map(callView), error,
  );
  return node;
}

/** Returns a form with a text to change. */
export function editForm(text, { save, cancel, label = "Save and answer" }) {
  const area = make("textarea", { rows: 3, value: text, "aria-label": "Text of the message" });
  return make(
    "form",
    { class: "edit", onsubmit: (event) => { event.preventDefault(); save(area.value); } },
    area,
    make(
      "div", { class: "row" },
      button("Cancel", cancel, { class: "quiet" }),
      make("button", { type: "submit", class: "accent" }, label),
    ),
  );
}

/** Returns the element of a tool call. */
export function callView(call) {
  return make(
    "div", { class: "call" },
    make("span", { class: "call-name" }, call.function.name),
    make("pre", {}, pretty(call.function.arguments)),
  );
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text; // the arguments may be incomplete
  }
}
