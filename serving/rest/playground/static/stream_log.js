// Reads a growing answer to screen readers, sentence by sentence.

import { byId, make } from "./dom.js";

const SENTENCE = /^[\s\S]*[.!?:\n](?=\s)/;

export class StreamLog {
  constructor() {
    this.length = 0; // of the text that was read
  }

  /** Adds the sentences of `text` that are new and complete; all of the text once it has ended. */
  show(text, ended) {
    const rest = text.slice(this.length);
    const part = ended ? rest : rest.match(SENTENCE)?.[0];
    if (!part) return;
    this.length += part.length;
    byId("log").append(make("p", {}, part));
  }
}
