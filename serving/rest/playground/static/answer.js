// An answer: its branches, of which one is shown.

import { Branch } from "./branch.js";
import { spelling } from "./tokens.js";

export class Answer {
  constructor(request) {
    this.branches = [new Branch(request)];
    this.shown = this.branches[0];
  }

  /** Shows and returns a new branch: a fork, or another answer to the messages. */
  add(branch) {
    this.branches.push(branch);
    this.shown = branch;
    return branch;
  }

  /** Returns the branches as a tree in order: pairs of a branch and its number, such as "1.2". */
  numbered(parent = null, before = "") {
    return this.branches
      .filter((branch) => branch.parent === parent)
      .flatMap((branch, index) => {
        const number = `${before}${index + 1}`;
        return [[branch, number], ...this.numbered(branch, `${number}.`)];
      });
  }
}

/** Returns where a branch leaves its parent, in words. */
export function origin(branch) {
  if (!branch.parent) return "from the prompt";
  return `\u201c${spelling(branch.prefix.at(-1))}\u201d at token ${branch.prefixIds.length}`;
}
