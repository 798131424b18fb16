// Runs branches: sends their requests and adds what comes back.

import { post, stream } from "./api.js";
import { tokenOf } from "./tokens.js";

const CHAT = "v1/chat/completions";
const TEXT = "v1/completions";
const TOP = 20;
const RETURNED = { return_token_ids: true, return_accepted_drafts: true };
const STREAMED = { stream: true, stream_options: { include_usage: true } };
const SHARED = [
  ...["model", "temperature", "top_p", "frequency_penalty", "presence_penalty", "repetition_penalty"],
  ...["top_k", "min_p", "seed", "stop"],
];

/**
 * Runs a branch until it ends or `signal` stops it. An error of the server becomes the branch's `error`.
 * @param context the model's context in tokens, which limits branches without a limit in the request.
 * @param changed called after every part.
 */
export async function run(branch, { context, signal, changed }) {
  branch.running = true;
  try {
    const [path, body] = branch.parent ? [TEXT, textBody(branch, context)] : [CHAT, chatBody(branch.request)];
    if (await endsAtOnce(branch, body)) return;
    for await (const chunk of stream(path, body, signal)) {
      branch.add(chunk);
      changed();
    }
  } catch (error) {
    if (error.name === "AbortError") branch.stopped = true;
    else branch.error = error;
  } finally {
    branch.running = false;
    changed();
  }
}

function chatBody(request) {
  return { ...request, ...STREAMED, logprobs: true, top_logprobs: TOP, exact_logprobs: true, ...RETURNED };
}

/** Returns the text completion that continues a branch: the prompt's ids, then those of the answer so far. */
function textBody(branch, context) {
  const { request, promptIds, prefixIds } = branch;
  const shared = SHARED.filter((name) => name in request).map((name) => [name, request[name]]);
  const limit = request.max_completion_tokens;
  const room = context - promptIds.length - prefixIds.length;
  return {
    ...Object.fromEntries(shared),
    ...STREAMED,
    prompt: [...promptIds, ...prefixIds],
    max_tokens: Math.max(0, limit ? Math.min(limit - prefixIds.length, room) : room),
    logprobs: TOP,
    ...RETURNED,
  };
}

/** Ends a branch whose chosen token ends answers, or that has no room left. Returns whether it did. */
async function endsAtOnce(branch, body) {
  const chosen = branch.prefix.at(-1);
  if (!chosen?.forced) return false;
  if (body.max_tokens === 0) branch.finish = "length";
  else if (!chosen.bytes && (await isEnd(branch, chosen.id))) branch.finish = "stop";
  return branch.finish !== null;
}

/** Returns whether a token ends answers: the server says so if it samples this token, and can sample no other. */
async function isEnd({ request, promptIds, prefixIds }, id) {
  const prompt = [...promptIds, ...prefixIds.slice(0, -1)];
  const answer = await post(TEXT, { model: request.model, prompt, max_tokens: 1, logit_bias: { [id]: 100 } });
  return answer.choices[0].finish_reason === "stop";
}

/** Returns the tokens of `ids`, each with its probability after those before it. */
export async function score(model, ids) {
  const body = { model, prompt: ids, echo: true, max_tokens: 0, logprobs: TOP, return_token_ids: true };
  const answer = await post(TEXT, body);
  return answer.choices[0].logprobs.content.map((entry, place) => ({ ...tokenOf(entry), place }));
}

/** Computes the probabilities of all tokens of a branch, with thoughts, calls and the token that ends it. */
export async function scoreAll(branch) {
  const tokens = await score(branch.request.model, [...branch.promptIds, ...branch.answerIds]);
  const answer = tokens.slice(branch.promptIds.length);
  branch.scored = answer.map((token, place) => ({ ...token, place }));
}
