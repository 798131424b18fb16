// The names of control tokens, which the chat API does not tell because they have no text.

import { post } from "./api.js";

const names = new Map(); // by model and id

async function nameOf(model, id) {
  const key = `${model} ${id}`;
  if (!names.has(key)) names.set(key, post("detokenize", { model, tokens: [id] }).then(({ prompt }) => prompt, () => ""));
  return names.get(key);
}

/** Gives names to the control tokens among tokens. Returns whether any was without one. */
export async function nameControls(model, tokens) {
  const unnamed = tokens.filter(({ bytes, name }) => !bytes && !name);
  await Promise.all(unnamed.map(async (each) => { each.name = await nameOf(model, each.id); }));
  return unnamed.length > 0;
}
