// The side panel: settings and the inspected token, of which one is shown. On a phone it is a sheet at the bottom.

import { byId, walk } from "./dom.js";

const TABS = ["settings", "token"];

export class Side {
  constructor() {
    this.node = byId("side");
    this.tabs = TABS.map((name) => byId(`tab-${name}`));
    this.tabs.forEach((tab, index) => tab.addEventListener("click", () => this.open(TABS[index])));
    this.node.querySelector(".tabs").addEventListener("keydown", (event) => {
      if (walk(event, this.tabs, ["ArrowLeft", "ArrowRight"])) document.activeElement.click();
    });
    byId("open-settings").addEventListener("click", () => this.open("settings"));
    byId("close-side").addEventListener("click", () => this.close());
    this.node.addEventListener("keydown", (event) => event.key === "Escape" && this.close());
  }

  /** Shows a tab. On a phone, opens the sheet. */
  open(name) {
    if (this.node.dataset.tab === name && this.node.dataset.open) return;
    TABS.forEach((other, index) => {
      const chosen = other === name;
      byId(other).hidden = !chosen;
      this.tabs[index].setAttribute("aria-selected", String(chosen));
      this.tabs[index].tabIndex = chosen ? 0 : -1;
    });
    this.node.dataset.tab = name;
    this.node.dataset.open = "true";
  }

  /** Whether the panel covers a part of the conversation. */
  get covers() {
    return getComputedStyle(this.node).position === "fixed";
  }

  close() {
    delete this.node.dataset.open;
  }
}
