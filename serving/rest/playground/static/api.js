// Calls this server's API. Paths are relative, so the page also works below a prefix of a proxy.

import { eventsOf } from "./sse.js";

const KEY = "jaxchat-api-key";

/** An error as the server reports it. `status` is 0 if the connection failed. */
export class ApiError extends Error {
  constructor({ message, param = null, code = null }, status) {
    super(message);
    Object.assign(this, { param, code, status });
  }
}

export const apiKey = {
  get: () => sessionStorage.getItem(KEY) ?? "",
  set: (key) => (key ? sessionStorage.setItem(KEY, key) : sessionStorage.removeItem(KEY)),
};

export async function get(path) {
  return (await call(path, {})).json();
}

export async function post(path, body) {
  return (await call(path, posting(body))).json();
}

/** Yields the objects of a streamed answer. Raises ApiError, also if the stream breaks off. */
export async function* stream(path, body, signal) {
  const response = await call(path, { ...posting(body), signal });
  for await (const data of eventsOf(response.body)) {
    if (data === "[DONE]") return;
    const part = JSON.parse(data);
    if (part.error) throw new ApiError(part.error, response.status);
    yield part;
  }
  throw new ApiError({ message: "The connection ended before the answer was complete." }, 0);
}

/** Returns the JSON of a body. Its seed is a text, because a number of JavaScript cannot hold 64 bits. */
export function write({ seed, ...body }) {
  const text = JSON.stringify(body);
  if (seed === undefined) return text;
  const value = /^-?\d+$/.test(seed) ? seed.replace(/^(-?)0+(?=\d)/, "$1") : JSON.stringify(seed);
  return `${text.slice(0, -1)},"seed":${value}}`;
}

function posting(body) {
  return { method: "POST", headers: { "content-type": "application/json" }, body: write(body) };
}

async function call(path, options) {
  const headers = { ...options.headers };
  if (apiKey.get()) headers.authorization = `Bearer ${apiKey.get()}`;
  let response;
  try {
    response = await fetch(path, { ...options, headers, cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError({ message: "The server cannot be reached." }, 0);
  }
  if (!response.ok) throw new ApiError(await errorOf(response), response.status);
  return response;
}

async function errorOf(response) {
  try {
    return (await response.json()).error;
  } catch {
    return { message: `The server answered with status ${response.status}.` };
  }
}
