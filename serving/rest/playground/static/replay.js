// Repeats the answer of a link, and compares its tokens with those that the link holds.

import { post } from "./api.js";
import { Branch } from "./branch.js";
import { nameControls } from "./names.js";
import { score } from "./run.js";

/**
 * Runs each step of a record's path in an answer.
 * @param run runs a branch, as `run` of run.js with its settings.
 * @returns the differences: objects with `step`, `place`, `expected` and `got`; ids are null where an answer has ended.
 */
export async function replay(record, answer, run) {
  const differences = [];
  let branch = answer.shown;
  for (const [index, step] of record.steps.entries()) {
    if (index) branch = answer.add(await successor(branch, record.steps[index - 1], step));
    await run(branch);
    if (branch.error || branch.stopped) return differences;
    const difference = firstDifference(branch.ids, step);
    if (difference) {
      differences.push({ step: index, ...difference, place: difference.place + branch.prefixIds.length });
    }
  }
  return differences;
}

/** Returns the branch of the next step. Its beginning is that of the record, even if the answer was another one now. */
async function successor(branch, before, { at, id }) {
  const recorded = [...branch.prefixIds, ...before.ids];
  const index = branch.placed().findIndex((token) => token.place === at);
  const candidate = branch.placed()[index]?.top.find((token) => token.id === id);
  if (candidate && branch.answerIds.slice(0, at).join() === recorded.slice(0, at).join()) {
    await nameControls(branch.request.model, [candidate]);
    return branch.fork(index, candidate);
  }
  const next = new Branch(branch.request, branch);
  next.prefixIds = [...recorded.slice(0, at), id];
  const tokens = await score(branch.request.model, [...branch.promptIds, ...next.prefixIds]);
  next.prefix = tokens.slice(branch.promptIds.length).map((token, place) => ({ ...token, place, forced: place === at }));
  return next;
}

function firstDifference(ids, { ids: expected, stopped }) {
  const length = stopped ? expected.length : Math.max(expected.length, ids.length);
  for (let place = 0; place < length; place++) {
    if (ids[place] !== expected[place]) {
      return { place, expected: expected[place] ?? null, got: ids[place] ?? null };
    }
  }
  return null;
}

/** Returns the result of a replay in words. */
export async function verdict(record, answer, differences) {
  const now = answer.shown.path[0].fingerprint;
  const then = record.steps[0].fingerprint;
  const changed = now !== then ? ` The server is another one: its fingerprint is ${now}, that of the link ${then}.` : "";
  if (!differences.length) return { same: true, text: `Same tokens, bit for bit.${changed}` };
  const { step, place, expected, got } = differences[0];
  const [was, is] = await Promise.all([nameOf(record, expected), nameOf(record, got)]);
  const where = step ? `of branch ${step}` : "of the answer";
  return { same: false, text: `Token ${place + 1} ${where} differs: ${was} in the link, ${is} now.${changed}` };
}

async function nameOf(record, id) {
  if (id === null) return "the end";
  const { prompt } = await post("detokenize", { model: record.request.model, tokens: [id] });
  return `\u201c${prompt}\u201d (${id})`;
}
