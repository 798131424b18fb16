// Tokens with their bytes, and the text that bytes make. A token may be a piece of a character.

/** Returns a token from an entry of the API. `place` is its index among all tokens of the answer, once it is known. */
export function tokenOf(entry) {
  return { ...candidateOf(entry), top: entry.top_logprobs.map(candidateOf), place: null, forced: false };
}

function candidateOf({ token, token_id, logprob, bytes }) {
  return { id: token_id, name: token, logprob, bytes: bytes && new Uint8Array(bytes) };
}

/** Returns a token that was chosen by hand instead of a sampled one. */
export function chosenToken(candidate, sampled) {
  return { ...candidate, top: sampled.top, place: sampled.place, forced: true };
}

export const probability = (token) => Math.exp(token.logprob);

/** Returns the text that each token completes: "" for one that ends within a character. */
export class TextPieces {
  constructor() {
    this.decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  }

  next(token) {
    return token.bytes ? this.decoder.decode(token.bytes, { stream: true }) : "";
  }

  end() {
    return this.decoder.decode();
  }
}

export function textOf(tokens) {
  const pieces = new TextPieces();
  return tokens.map((token) => pieces.next(token)).join("") + pieces.end();
}

export function hex(bytes) {
  return [...(bytes ?? [])].map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
}

/** Returns a token's spelling with visible white space, or its bytes if they are not whole characters. */
export function spelling(token) {
  if (!token.bytes) return token.name || `token ${token.id}`;
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(token.bytes);
    return text.replaceAll(" ", "\u2423").replaceAll("\n", "\u21b5").replaceAll("\t", "\u21e5");
  } catch {
    return hex(token.bytes);
  }
}

/** Returns per cent with as many digits as tell it from 0 and 100. */
export function percent(value) {
  const shown = 100 * value;
  if (shown >= 99.95 && shown < 99.9995) return `${shown.toFixed(3)} %`;
  if (shown >= 10 || shown === 0) return `${shown.toFixed(1)} %`;
  if (shown >= 0.01) return `${shown.toFixed(2)} %`;
  return "< 0.01 %";
}

const STEPS = [0.9, 0.5, 0.2, 0.05];

/** Returns the step of the colour scale, from 0 for likely to 4 for unlikely. */
export function step(value) {
  const index = STEPS.findIndex((least) => value >= least);
  return index < 0 ? STEPS.length : index;
}

/**
 * Returns the index in `ids` of each shown token. Thoughts, calls and ends are in `ids` but not shown: the shown
 * tokens are the last run in `ids` that equals them or, if calls lie between them, the last places in their order.
 */
export function places(ids, shown) {
  for (let start = ids.length - shown.length; start >= 0; start--) {
    if (shown.every((id, index) => ids[start + index] === id)) return shown.map((_, index) => start + index);
  }
  const result = [];
  let place = ids.length;
  for (const id of shown.toReversed()) {
    place = ids.lastIndexOf(id, place - 1);
    result.unshift(place);
  }
  return result;
}
