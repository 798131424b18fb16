// The tokens of an answer or of a prompt as one widget: pointer, touch and arrow keys choose a token.

import { make, walk } from "./dom.js";
import { hex, percent, probability, spelling, step, TextPieces } from "./tokens.js";

export class TokenList {
  /**
   * @param label what screen readers call the list.
   * @param onpoint called with the index of a token that the pointer or the focus reaches.
   * @param onenter called with an index if the token is chosen by Enter or by a click.
   */
  constructor({ label, onpoint, onenter }) {
    this.pieces = new TextPieces();
    this.tokens = [];
    this.marks = [];
    this.node = make("div", {
      class: "tokens", role: "listbox", "aria-label": label, "aria-orientation": "horizontal",
      onkeydown: (event) => this.key(event, onenter),
      onclick: (event) => this.at(event, onenter),
      onpointerover: (event) => event.pointerType !== "touch" && this.at(event, onpoint),
      onfocusin: (event) => this.at(event, (index) => { this.enterAt(index); onpoint(index); }),
    });
  }

  /**
   * Shows tokens. Those that are shown already stay, so that a growing answer keeps the focus.
   * @param marks returns the marks of a token by its index: "draft", "cached", "chosen".
   */
  show(tokens, marks) {
    const same = this.tokens.length <= tokens.length && this.tokens.every((token, index) => token === tokens[index]);
    if (!same) {
      this.pieces = new TextPieces();
      this.tokens = [];
      this.marks = [];
      this.node.replaceChildren();
    }
    for (let index = this.tokens.length; index < tokens.length; index++) {
      this.node.append(this.option(tokens[index], index));
    }
    this.tokens = [...tokens];
    tokens.forEach((_, index) => this.mark(index, marks(index).join(" ")));
    if (tokens.length && !this.node.querySelector("[tabindex='0']")) this.enterAt(0);
  }

  mark(index, marks) {
    if (this.marks[index] !== marks) this.node.children[index].dataset.marks = this.marks[index] = marks;
  }

  focus(index) {
    this.node.children[index]?.focus();
  }

  /** Scrolls a token to where the sheet of a phone does not cover it. */
  reveal(index) {
    this.node.children[index].scrollIntoView({ block: "nearest" });
  }

  option(token, index) {
    const text = this.pieces.next(token);
    const known = token.logprob !== null;
    const likely = known ? percent(probability(token)) : "first token";
    return make("span", {
      class: token.bytes ? (text ? "token" : "token piece") : "token control", role: "option", tabindex: "-1",
      "data-index": index, "data-id": token.id, "data-step": known ? step(probability(token)) : null,
      "aria-label": `${spelling(token)}, ${likely}`, "aria-selected": "false",
    }, text || (token.bytes ? hex(token.bytes) : spelling(token)));
  }

  enterAt(index) {
    for (const option of this.node.querySelectorAll("[tabindex='0']")) {
      option.tabIndex = -1;
      option.setAttribute("aria-selected", "false");
    }
    this.node.children[index].tabIndex = 0;
    this.node.children[index].setAttribute("aria-selected", "true");
  }

  key(event, onenter) {
    if (walk(event, [...this.node.children], ["ArrowLeft", "ArrowRight"])) return;
    if (event.key === "Enter" || event.key === " " || event.key === "ArrowDown") {
      event.preventDefault();
      this.at(event, onenter, true);
    }
  }

  at(event, use, byKey = false) {
    const option = event.target.closest(".token");
    if (option) use(Number(option.dataset.index), byKey);
  }
}
