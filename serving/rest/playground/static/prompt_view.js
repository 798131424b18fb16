// The prompt of an answer in tokens, of which the cached ones are shaded. Computed when it is opened.

import { make } from "./dom.js";
import { score } from "./run.js";
import { TokenList } from "./token_list.js";

export class PromptView {
  /** @param onpoint called with the token that the pointer or the focus reaches, and with facts about it. */
  constructor(onpoint) {
    this.onpoint = onpoint;
    this.branch = this.loaded = null;
    this.summary = make("summary", {});
    this.place = make("div", {});
    this.node = make("details", { class: "prompt", hidden: true, ontoggle: () => this.load() }, this.summary, this.place);
  }

  /** Shows the sizes for a branch. Does not compute anything. */
  show(branch) {
    const usage = branch.usage;
    this.node.hidden = !usage;
    if (!usage || branch === this.branch) return;
    this.branch = branch;
    this.cached = usage.prompt_tokens_details?.cached_tokens ?? 0;
    this.summary.textContent = `Prompt: ${usage.prompt_tokens} tokens, ${this.cached} from the cache`;
    this.load();
  }

  async load() {
    if (!this.node.open || this.loaded === this.branch) return;
    const branch = (this.loaded = this.branch);
    const ids = [...branch.promptIds, ...branch.prefixIds];
    this.place.replaceChildren(make("p", { class: "hint" }, "Computing\u2026"));
    try {
      this.fill(await score(branch.request.model, ids));
    } catch (error) {
      this.place.replaceChildren(make("p", { class: "error", role: "alert" }, error.message));
      this.loaded = null;
    }
  }

  fill(tokens) {
    const cached = (index) => index < this.cached;
    const list = new TokenList({
      label: "Tokens of the prompt",
      onpoint: (index) => this.onpoint(list, tokens[index], [["Prompt", cached(index) ? "from the cache" : "computed"]]),
      onenter: (index) => this.onpoint(list, tokens[index], [["Prompt", cached(index) ? "from the cache" : "computed"]]),
    });
    list.show(tokens, (index) => (cached(index) ? ["cached"] : []));
    const hint = this.cached ? "Shaded tokens came from the cache." : "No token came from the cache.";
    this.place.replaceChildren(list.node, make("p", { class: "hint" }, hint));
  }
}
