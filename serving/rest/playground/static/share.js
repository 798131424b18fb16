// Links that hold a request and the tokens of its answer, in the fragment, which browsers do not send to servers.

import { FIELDS } from "./fields.js";

const NAME = "replay=";
const VERSION = 1;
const REPLAYED = [...FIELDS.map(({ name }) => name), "model", "messages", "seed", "tools", "tool_choice", "response_format"];

/** Returns what a link holds of a branch: the request, and for each step of its path its tokens. */
export function recordOf(branch) {
  const steps = branch.path.map(({ prefixIds, ids, fingerprint, stopped, error, parent }) => ({
    ...(parent ? { at: prefixIds.length - 1, id: prefixIds.at(-1) } : {}),
    ids, fingerprint, ...(stopped || error ? { stopped: true } : {}),
  }));
  return { version: VERSION, request: branch.request, steps };
}

export async function linkOf(record) {
  const packed = await piped(new TextEncoder().encode(JSON.stringify(record)), new CompressionStream("deflate-raw"));
  const page = location.href.split("#")[0];
  return `${page}#${NAME}${toBase64(packed)}`;
}

/** Returns the record of the page's address, or null if it has none. Raises Error if the record is damaged. */
export async function recordOfAddress(fragment = location.hash) {
  if (!fragment.startsWith(`#${NAME}`)) return null;
  let record;
  try {
    const packed = fromBase64(fragment.slice(NAME.length + 1));
    record = JSON.parse(new TextDecoder().decode(await piped(packed, new DecompressionStream("deflate-raw"))));
  } catch {
    throw new Error("The link is damaged: a part of it is missing.");
  }
  if (record.version !== VERSION) throw new Error("The link is of another version of the playground.");
  const request = Object.fromEntries(REPLAYED.filter((name) => name in record.request).map((name) => [name, record.request[name]]));
  return { ...record, request };
}

async function piped(bytes, transform) {
  return new Uint8Array(await new Response(new Blob([bytes]).stream().pipeThrough(transform)).arrayBuffer());
}

function toBase64(bytes) {
  const text = Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
  return btoa(text).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

function fromBase64(text) {
  return Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (letter) => letter.charCodeAt(0));
}
