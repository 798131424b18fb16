// The fields of a request that the settings show, in order, with what the page says of each.

/** `kind` is number, text or list; `later` fields are shown only where the server lists them. */
export const FIELDS = [
  { name: "temperature", label: "Temperature", hint: "0 always takes the likeliest token", preset: "1" },
  { name: "top_p", label: "Top p", hint: "likeliest tokens up to this total probability", preset: "1" },
  { name: "top_k", label: "Top k", hint: "only this many likeliest tokens; 0 means all", preset: "0", later: true },
  { name: "min_p", label: "Min p", hint: "at least this part of the likeliest one\u2019s probability", preset: "0", later: true },
  { name: "max_completion_tokens", label: "Max tokens", hint: "of the answer, thoughts included; without a limit up to the context", preset: "no limit" },
  { name: "frequency_penalty", label: "Frequency penalty", hint: "for each earlier occurrence of a token", preset: "0" },
  { name: "presence_penalty", label: "Presence penalty", hint: "once a token has occurred", preset: "0" },
  { name: "stop", label: "Stop", hint: "up to four texts, one on each line", preset: "none", kind: "list" },
];

/** Returns the value of a field for a request. What is not a number stays a text, which the server refuses by name. */
export function valueOf({ kind }, text) {
  if (kind === "list") {
    const lines = text.split("\n").filter((line) => line !== "");
    return lines.length ? lines : undefined;
  }
  const trimmed = text.trim();
  if (trimmed === "") return undefined;
  const number = Number(trimmed);
  return Number.isFinite(number) ? number : trimmed;
}

/** Returns the text of a field for a value of a request. */
export function textOfValue(value) {
  if (value === undefined || value === null) return "";
  return Array.isArray(value) ? value.join("\n") : String(value);
}

/** Returns the bounds of a field in words, from the server's capabilities. */
export function boundsOf(capability) {
  if (!capability) return "";
  const { minimum, maximum } = capability;
  const text = (value) => String(value).replace("-", "\u2212");
  if (maximum > 0 && minimum === -maximum) return `\u00b1${maximum}`;
  if (maximum !== undefined) return `${text(minimum)} to ${text(maximum)}`;
  return minimum !== undefined ? `from ${text(minimum)}` : "";
}

export const EXAMPLE_TOOLS = [
  {
    type: "function",
    function: {
      name: "get_weather",
      description: "Get the current weather of a city",
      parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
    },
  },
];

export const EXAMPLE_SCHEMA = {
  type: "object",
  properties: { name: { type: "string" }, age: { type: "integer" } },
  required: ["name", "age"],
  additionalProperties: false,
};

/** Prompts for a first try, which the bundled model answers well. */
export const EXAMPLES = [
  { text: "What is the capital of Norway?" },
  { text: "Extract name and age as JSON: Maria Lopez is 34 and lives in Oslo.", schema: true },
  { text: "What is the weather in Oslo?", tools: true },
];
