// Asks for an API key where the server wants one. The key stays in the session storage of this tab.

import { apiKey } from "./api.js";
import { byId } from "./dom.js";

export class KeyForm {
  /** @param onkey called once a key was entered. */
  constructor(onkey) {
    this.form = byId("key-form");
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      apiKey.set(byId("key-field").value.trim());
      byId("key-field").value = "";
      this.form.hidden = true;
      byId("key").hidden = false;
      onkey();
    });
    byId("key").addEventListener("click", () => this.ask(""));
    byId("key").hidden = !apiKey.get();
  }

  /** Shows the form if an error is about the key. Returns whether it is. */
  handle(error) {
    if (error.status !== 401) return false;
    this.ask(apiKey.get() ? error.message : "");
    return true;
  }

  ask(message) {
    byId("key-error").textContent = message;
    this.form.hidden = false;
    byId("key-field").focus();
  }
}
