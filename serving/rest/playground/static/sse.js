// Reads server-sent events from the body of a response.

/** Yields the data of each event as text. Comments, which keep the connection open, are left out. */
export async function* eventsOf(body) {
  const decoder = new TextDecoder();
  let buffer = "";
  for await (const bytes of chunksOf(body)) {
    buffer += decoder.decode(bytes, { stream: true });
    const events = buffer.split("\n\n");
    buffer = events.pop();
    for (const event of events) {
      if (event.startsWith("data: ")) yield event.slice(6);
    }
  }
}

async function* chunksOf(body) {
  const reader = body.getReader(); // Safari's streams have no async iterator
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
