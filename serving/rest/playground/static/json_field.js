// A text area for JSON that says where the JSON is wrong, with an example to start with.

import { button, make } from "./dom.js";

export class JsonField {
  /**
   * @param name the field of the request.
   * @param label what the page calls it.
   * @param example the value that the button puts in.
   */
  constructor({ name, label, hint, example }) {
    Object.assign(this, { name, example });
    this.area = make("textarea", {
      id: `field-${name}`, rows: 3, spellcheck: "false", class: "code", oninput: () => this.check(),
      "aria-describedby": `hint-${name} error-${name}`,
    });
    this.error = make("p", { class: "error", id: `error-${name}`, role: "alert" });
    this.node = make(
      "div", { class: "field wide" },
      make(
        "div", { class: "row" },
        make("label", { for: `field-${name}` }, label),
        button("Example", () => this.set(example), { class: "quiet" }),
      ),
      this.area,
      make("p", { class: "hint", id: `hint-${name}` }, hint),
      this.error,
    );
  }

  /** The value; undefined if the area is empty. Raises SyntaxError for text that is not JSON. */
  get value() {
    const text = this.area.value.trim();
    return text ? JSON.parse(text) : undefined;
  }

  set(value) {
    this.area.value = value === undefined ? "" : JSON.stringify(value, null, 2);
    this.area.rows = Math.min(14, Math.max(3, this.area.value.split("\n").length));
    this.check();
    this.area.dispatchEvent(new Event("change", { bubbles: true }));
  }

  /** Puts the example in, or takes it out. Leaves other text as it is. */
  setExample(wanted) {
    if (wanted) this.set(this.example);
    else if (this.area.value === JSON.stringify(this.example, null, 2)) this.set(undefined);
  }

  /** Shows whether the text is JSON. Returns whether it is. */
  check() {
    this.show("");
    try {
      void this.value;
    } catch (error) {
      this.show(`Not JSON: ${error.message}`);
    }
    return !this.error.textContent;
  }

  show(message) {
    this.error.textContent = message;
    this.area.setAttribute("aria-invalid", String(Boolean(message)));
  }
}
