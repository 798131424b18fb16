// An answer of the model on the page: branches, thoughts, tokens, calls, facts and what can be done with them.

import { origin } from "./answer.js";
import { button, make, walk } from "./dom.js";
import { callView, editForm } from "./message_view.js";
import { PromptView } from "./prompt_view.js";
import { TokenList } from "./token_list.js";

const FINISHES = { length: "cut off at the limit", stop: "", tool_calls: "" };

export class AnswerView {
  /**
   * @param answer the answer.
   * @param actions what its buttons and tokens do, from `answerActions`.
   */
  constructor(answer, actions) {
    Object.assign(this, { answer, actions });
    this.list = new TokenList({
      label: "Tokens of the answer",
      onpoint: (index) => actions.point(this, index),
      onenter: (index, byKey) => actions.point(this, index, byKey),
    });
    this.branches = make("div", { class: "branches", role: "tablist", "aria-label": "Branches" });
    this.branches.addEventListener("keydown", (event) => walk(event, [...this.branches.children], ["ArrowLeft", "ArrowRight"]));
    this.thoughts = make("p", { class: "said" });
    this.fold = make("details", { class: "thoughts", hidden: true }, make("summary", {}, "Thoughts"), this.thoughts);
    this.calls = make("div", { class: "calls" });
    this.error = make("p", { class: "error", role: "alert" });
    this.facts = make("p", { class: "meta" });
    this.buttons = make("div", { class: "actions" });
    this.prompt = new PromptView((view, token, facts) => actions.pointAtPrompt(view, token, facts));
    this.body = make("div", {}, this.fold, this.list.node, this.calls, this.error);
    this.node = make(
      "article", { class: "turn assistant", "aria-label": "Model" },
      make("header", {}, make("h2", {}, "Model"), this.buttons), this.branches, this.body, this.facts, this.prompt.node,
    );
    this.update();
  }

  /** Shows the present state of the shown branch. */
  update() {
    const branch = this.answer.shown;
    this.node.setAttribute("aria-busy", String(branch.running));
    this.showBranches();
    this.fold.hidden = !branch.reasoning;
    this.thoughts.textContent = branch.reasoning;
    const tokens = branch.placed();
    this.list.show(this.kept(tokens), (index) => marksOf(branch, tokens[index]));
    this.list.node.hidden = !tokens.length;
    this.calls.replaceChildren(...branch.calls.map(callView));
    const error = errorText(branch.error);
    if (this.error.textContent !== error) this.error.textContent = error;
    this.facts.textContent = factsOf(branch).join(" \u00b7 ");
    this.prompt.show(branch);
    if (!branch.running) this.showButtons(branch);
    this.buttons.hidden = branch.running;
  }

  /** Returns tokens, each as the object that is shown already if it has the same id and place in the list. */
  kept(tokens) {
    return tokens.map((token, index) => {
      const shown = this.list.tokens[index];
      return shown && shown.id === token.id && shown.logprob === token.logprob ? shown : token;
    });
  }

  showBranches() {
    const numbered = this.answer.numbered();
    const { shown } = this.answer;
    if (this.state?.shown === shown && this.state.count === numbered.length) return; // the focus stays where it is
    this.state = { shown, count: numbered.length };
    this.branches.hidden = numbered.length < 2;
    this.branches.replaceChildren(...numbered.map(([branch, number]) => {
      const chosen = branch === shown;
      return button("", () => this.actions.show(this, branch), {
        role: "tab", "aria-selected": String(chosen), tabindex: chosen ? "0" : "-1",
        "aria-label": `Branch ${number}, ${origin(branch)}`,
      });
    }));
    numbered.forEach(([branch, number], index) => {
      this.branches.children[index].append(
        make("span", { class: "number" }, number), branch.parent ? make("span", { class: "origin" }, origin(branch)) : "",
      );
    });
  }

  showButtons(branch) {
    const { retry, share, scoreTokens } = this.actions;
    const all = button("Show all tokens", () => scoreTokens(this), { class: "quiet" });
    const link = button("Copy link", async () => {
      link.textContent = (await share()) ? "Copied" : "The address is the link";
    }, { class: "quiet" });
    this.buttons.replaceChildren(
      button("Retry", retry, { class: "quiet" }),
      button("Edit", () => this.edit(branch), { class: "quiet" }),
      ...(branch.answerIds.length ? [link] : []),
      ...(branch.complete || branch.error ? [] : [all]),
    );
  }

  edit(branch) {
    const form = editForm(branch.content, {
      save: (text) => this.actions.edit(text), cancel: () => form.replaceWith(this.body), label: "Save",
    });
    this.body.replaceWith(form);
    form.querySelector("textarea").focus();
  }
}

function errorText(error) {
  if (!error) return "";
  return error.param && !error.message.includes(error.param) ? `${error.message} (${error.param})` : error.message;
}

function marksOf(branch, token) {
  return [token.forced && "chosen", token.place !== null && branch.isDraft(token.place) && "draft"].filter(Boolean);
}

function factsOf(branch) {
  const { usage, stopped, finish, running } = branch;
  const count = branch.answerIds.length;
  if (running || !count) return [];
  return [
    `${count} ${count === 1 ? "token" : "tokens"}`,
    usage && branch.drafted.size && `${branch.drafted.size} by drafts`,
    `seed ${branch.request.seed}`,
    branch.fingerprint,
    stopped ? "stopped" : FINISHES[finish],
  ].filter(Boolean);
}
