// The panel for one token: its probability, its bytes, and the likeliest tokens in its place.

import { button, make, walk } from "./dom.js";
import { hex, percent, probability, spelling } from "./tokens.js";

export class Inspector {
  constructor(root) {
    this.root = root;
    this.leave = () => {};
    root.addEventListener("keydown", (event) => this.key(event));
    this.clear();
  }

  clear() {
    const advice = "Point at a token or tap it, or walk the tokens with the arrow keys.";
    this.root.replaceChildren(make("p", { class: "hint" }, advice));
  }

  /**
   * Shows a token.
   * @param facts pairs of a name and a value that are shown after those of the token.
   * @param branch called with the candidate that shall stand in the token's place; null where nothing may.
   * @param leave moves the focus back to the token.
   */
  show(token, { facts = [], branch = null, leave = () => {} }) {
    Object.assign(this, { leave, token });
    const rows = [
      ["Probability", token.logprob === null ? "none, it is the first token" : percent(probability(token))],
      ["Log-probability", token.logprob === null ? "" : token.logprob.toFixed(4).replace("-", "\u2212")],
      ["Bytes", token.bytes ? hex(token.bytes) : "none, a control token"],
      ["Token id", String(token.id)],
      ...facts,
    ].filter(([, value]) => value);
    this.root.replaceChildren(
      make("h2", { class: "spelling" }, spelling(token)),
      make("dl", { class: "facts" }, rows.map(([name, value]) => [make("dt", {}, name), make("dd", {}, value)])),
      ...(token.top.length ? this.alternatives(token, branch) : []),
    );
  }

  /** Shows the names of a token and its alternatives once they are known, if it still is the token that is shown. */
  rename(token) {
    if (token !== this.token) return;
    for (const row of this.root.querySelectorAll(".alternative")) {
      const candidate = [token, ...token.top].find(({ id }) => String(id) === row.dataset.id);
      row.querySelector(".text").textContent = spelling(candidate);
      row.setAttribute("aria-label", `${spelling(candidate)}, ${row.querySelector(".share").textContent}`);
    }
  }

  /** Moves the focus to the first alternative. */
  enter() {
    this.root.querySelector(".alternative")?.focus();
  }

  alternatives(token, branch) {
    const listed = token.top.some((candidate) => candidate.id === token.id);
    const candidates = listed ? token.top : [...token.top, token];
    const total = token.top.reduce((sum, candidate) => sum + probability(candidate), 0);
    return [
      make("h3", {}, branch ? "In its place: choose one to branch" : "In its place"),
      make("ol", { class: "alternatives" }, candidates.map((candidate) => this.alternative(candidate, token, branch))),
      make("p", { class: "hint", "data-total": total }, `The ${token.top.length} likeliest: ${percent(total)} together.`),
    ];
  }

  alternative(candidate, token, branch) {
    const same = candidate.id === token.id;
    const likely = percent(probability(candidate));
    const row = button("", () => !same && branch?.(candidate), {
      class: "alternative", "aria-current": same ? "true" : null, "aria-disabled": same || !branch ? "true" : null,
      "aria-label": `${spelling(candidate)}, ${likely}${same ? ", chosen" : ""}`, "data-id": candidate.id,
      title: `${hex(candidate.bytes) || "control token"} \u00b7 id ${candidate.id}`,
    });
    const bar = make("span", { class: "bar" });
    bar.style.setProperty("--share", probability(candidate));
    row.append(make("span", { class: "text" }, spelling(candidate)), bar, make("span", { class: "share" }, likely));
    return make("li", {}, row);
  }

  key(event) {
    if (event.key === "Escape") this.leave();
    else walk(event, [...this.root.querySelectorAll(".alternative")], ["ArrowUp", "ArrowDown"]);
  }
}
