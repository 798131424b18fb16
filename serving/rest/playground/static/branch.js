// One branch of an answer: the answer to a chat request, or what follows a token that was chosen by hand.

import { chosenToken, places, textOf, tokenOf } from "./tokens.js";

const CALL = () => ({ id: "", type: "function", function: { name: "", arguments: "" } });

export class Branch {
  /**
   * @param request the body of the chat request that the whole answer belongs to, with its seed as text.
   * @param parent the branch that this one leaves, or null.
   */
  constructor(request, parent = null) {
    this.request = request;
    this.parent = parent;
    this.prefix = []; // shown tokens from the parent, and the chosen one
    this.prefixIds = []; // all their ids, with thoughts and calls
    this.promptIds = parent ? parent.promptIds : [];
    this.sampled = []; // shown tokens of this branch's own
    this.ids = []; // all ids of this branch's own
    this.scored = null; // all tokens of the answer, once their probabilities were computed
    this.drafted = new Set(); // indices in `ids` of accepted drafts
    this.text = "";
    this.reasoning = parent ? parent.reasoning : "";
    this.calls = [];
    this.finish = this.usage = this.error = this.fingerprint = null;
    this.running = this.stopped = false;
  }

  /** The tokens to show. */
  get tokens() {
    return this.scored ?? [...this.prefix, ...this.sampled];
  }

  /** The ids of the whole answer. */
  get answerIds() {
    return [...this.prefixIds, ...this.ids];
  }

  /** The text of the answer. A branch may begin within a character, so its text comes from the bytes. */
  get content() {
    if (!this.parent) return this.text;
    const text = textOf([...this.prefix, ...this.sampled]);
    const cuts = [this.request.stop ?? []].flat().map((stop) => text.indexOf(stop)).filter((at) => at >= 0);
    return cuts.length && this.finish === "stop" ? text.slice(0, Math.min(...cuts)) : text;
  }

  /** Whether all tokens are shown, not only those of the content. */
  get complete() {
    return this.tokens.length >= this.answerIds.length - (this.finish === "stop" ? 1 : 0);
  }

  /** Whether the server refused the request, so that there is no answer. */
  get failed() {
    return this.error !== null && !this.ids.length && !this.parent;
  }

  /** The answer as a message of the next request. */
  get message() {
    const message = { role: "assistant", content: this.content || (this.calls.length ? null : "") };
    if (this.reasoning) message.reasoning_content = this.reasoning;
    if (this.calls.length) message.tool_calls = this.calls;
    return message;
  }

  /** Adds a chunk of a chat completion, or a part of a text completion. */
  add(chunk) {
    this.fingerprint = chunk.system_fingerprint;
    if (chunk.usage) this.usage = chunk.usage;
    if (chunk.prompt_token_ids) this.promptIds = chunk.prompt_token_ids;
    for (const choice of chunk.choices) {
      this.ids.push(...(choice.token_ids ?? []));
      for (const index of choice.accepted_drafts ?? []) this.drafted.add(index);
      this.sampled.push(...(choice.logprobs?.content ?? []).map(tokenOf));
      this.text += choice.text ?? choice.delta?.content ?? "";
      this.reasoning += choice.delta?.reasoning_content ?? "";
      for (const part of choice.delta?.tool_calls ?? []) this.addCall(part);
      this.finish = choice.finish_reason ?? this.finish;
    }
  }

  addCall({ index, id, function: part }) {
    const call = (this.calls[index] ??= CALL());
    call.id ||= id ?? "";
    call.function.name += part.name ?? "";
    call.function.arguments += part.arguments ?? "";
  }

  /** Returns the tokens to show, each with its place among the ids of the answer. */
  placed() {
    if (this.scored) return this.scored;
    const start = this.prefixIds.length;
    const found = this.parent ? [...this.sampled.keys()] : places(this.ids, this.sampled.map((token) => token.id));
    return [...this.prefix, ...this.sampled.map((token, index) => ({ ...token, place: start + found[index] }))];
  }

  /** Returns a branch that has `candidate` in place of the token with number `index`. */
  fork(index, candidate) {
    const tokens = this.placed();
    const token = tokens[index];
    const branch = new Branch(this.request, this);
    branch.prefix = [...tokens.slice(0, index), chosenToken(candidate, token)];
    branch.prefixIds = [...this.answerIds.slice(0, token.place), candidate.id];
    if (this.scored) branch.reasoning = ""; // the thoughts are among the tokens
    return branch;
  }

  /** Whether the token at a place of the answer was an accepted draft. */
  isDraft(place) {
    return this.drafted.has(place - this.prefixIds.length);
  }

  /** The branches from the answer's first one to this one. */
  get path() {
    return this.parent ? [...this.parent.path, this] : [this];
  }
}
