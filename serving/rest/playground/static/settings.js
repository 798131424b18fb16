// The settings of the next request.

import { button, byId, make } from "./dom.js";
import { boundsOf, EXAMPLE_SCHEMA, EXAMPLE_TOOLS, FIELDS, textOfValue, valueOf } from "./fields.js";
import { JsonField } from "./json_field.js";

const SEEDS = 2 ** 32;
const CHOICES = ["auto", "required", "none"];

export const newSeed = () => String(Math.floor(Math.random() * SEEDS));

export class Settings {
  constructor(root) {
    this.errors = new Map(); // by name of the field
    this.inputs = new Map();
    this.system = this.text("system", "System message", "", "textarea");
    this.seed = this.text("seed", "Seed", "Equal seeds give equal answers. Empty: a new one for each answer.");
    const draw = button("New seed", () => (this.seed.value = newSeed()));
    const row = make("div", { class: "beside" });
    this.seed.before(row);
    row.append(this.seed, draw);
    this.seed.inputMode = "numeric";
    this.tools = new JsonField({
      name: "tools", label: "Tools", example: EXAMPLE_TOOLS, hint: "A list of functions that the model may call.",
    });
    this.choice = make(
      "select", { id: "field-tool_choice", "aria-describedby": "error-tool_choice" },
      CHOICES.map((word) => make("option", { value: word }, word)),
    );
    this.schema = new JsonField({
      name: "response_format", label: "JSON schema", example: EXAMPLE_SCHEMA,
      hint: "The answer is JSON that follows it. Branches of an answer do not.",
    });
    for (const field of [this.tools, this.schema]) this.errors.set(field.name, field.error);
    this.sampling = make("div", { class: "fields" });
    root.append(
      this.system.parentNode,
      make("h2", {}, "Sampling"), this.sampling, row.parentNode,
      make("h2", {}, "Tools and structure"), this.tools.node,
      this.field("tool_choice", "Tool choice", this.choice, ""), this.schema.node,
    );
    this.describe({});
  }

  /** Shows the sampling fields that the server applies, with their bounds. */
  describe(capabilities) {
    const values = new Map([...this.inputs].map(([name, input]) => [name, input.value]));
    this.inputs.clear();
    this.sampling.replaceChildren();
    for (const field of FIELDS) {
      const capability = capabilities[field.name];
      if (field.later ? !capability?.applied : capability?.applied === false) continue;
      const tag = field.kind === "list" ? "textarea" : "input";
      const input = this.text(field.name, field.label, field.hint, tag, boundsOf(capability));
      Object.assign(input, { placeholder: field.preset, title: field.hint });
      input.value = values.get(field.name) ?? "";
      if (field.kind !== "list") input.inputMode = "decimal";
      this.inputs.set(field.name, input);
      this.sampling.append(input.parentNode);
    }
  }

  /** Returns the fields of a request, or null if a text that must be JSON is not. */
  request() {
    this.clearErrors();
    if (![this.tools.check(), this.schema.check()].every(Boolean)) return null;
    const request = {};
    for (const field of FIELDS) {
      const value = this.inputs.has(field.name) ? valueOf(field, this.inputs.get(field.name).value) : undefined;
      if (value !== undefined) request[field.name] = value;
    }
    request.seed = this.seed.value.trim() || newSeed();
    if (this.tools.value !== undefined) request.tools = this.tools.value;
    if (request.tools?.length && this.choice.value !== "auto") request.tool_choice = this.choice.value;
    const schema = this.schema.value;
    if (schema !== undefined) {
      request.response_format = { type: "json_schema", json_schema: { name: "answer", schema } };
    }
    return request;
  }

  /** Shows the settings of a request. */
  restore(request) {
    for (const field of FIELDS) {
      if (this.inputs.has(field.name)) this.inputs.get(field.name).value = textOfValue(request[field.name]);
    }
    this.seed.value = request.seed ?? "";
    this.tools.set(request.tools);
    this.choice.value = request.tool_choice ?? "auto";
    this.schema.set(request.response_format?.json_schema?.schema);
  }

  /** Puts in the examples of tools and schema, and takes those out that are not asked for. */
  use({ tools = false, schema = false }) {
    for (const [field, wanted] of [[this.tools, tools], [this.schema, schema]]) field.setExample(wanted);
  }

  /** Shows an error of the server beside its field. Returns whether the settings have that field. */
  showError({ param, message }) {
    const place = this.errors.get((param ?? "").split(".")[0]);
    if (!place) return false;
    place.textContent = message;
    byId(place.id.replace("error-", "field-"))?.setAttribute("aria-invalid", "true");
    place.scrollIntoView({ block: "center" });
    return true;
  }

  clearErrors() {
    for (const [name, place] of this.errors) {
      place.textContent = "";
      byId(`field-${name}`)?.removeAttribute("aria-invalid");
    }
  }

  text(name, label, hint, tag = "input", bounds = null) {
    const attributes = { id: `field-${name}`, "aria-describedby": `hint-${name} error-${name}`, autocomplete: "off" };
    if (tag === "textarea") attributes.rows = 2;
    const input = make(tag, attributes);
    this.field(name, label, input, hint, bounds);
    return input;
  }

  /** Returns a field. Where `bounds` are told, the hint is for screen readers and pointers only. */
  field(name, label, input, hint, bounds = null) {
    const error = make("p", { class: "error", id: `error-${name}`, role: "alert" });
    this.errors.set(name, error);
    return make(
      "div", { class: input.tagName === "TEXTAREA" ? "field wide" : "field" },
      make("div", { class: "row" }, make("label", { for: input.id }, label), bounds && make("span", { class: "bounds" }, bounds)),
      input,
      hint && make("p", { class: bounds === null ? "hint" : "unseen", id: `hint-${name}` }, hint),
      error,
    );
  }
}
