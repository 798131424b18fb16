// `buf curl`, which learns the protocol from the server's reflection service.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";

import {
  GRPC, MODEL, NAME, NAME_ANSWER, PERSON, PERSON_ANSWER, PERSON_SCHEMA, SUM, SUM_ANSWER, WEATHER, WEATHER_ANSWER,
  WEATHER_PARAMETERS, getWeather, run,
} from "./checks.mjs";

const user = (text) => ({ role: "ROLE_USER", text });

function call(method, messages, options = {}) {
  const data = JSON.stringify({ model: MODEL, temperature: 0, messages, ...options });
  const url = `http://${GRPC}/jaxchat.v1.ChatService/${method}`;
  const flags = ["--protocol", "grpc", "--http2-prior-knowledge", "--data", data];
  return execFileSync("node_modules/.bin/buf", ["curl", ...flags, url], { encoding: "utf8" });
}

const complete = (...request) => JSON.parse(call("Complete", ...request)).choices[0].message;

function plain() {
  const messages = [user("I am Bob.")];
  const { role, content } = complete(messages);
  messages.push({ role, text: content }, user(NAME));
  assert.equal(complete(messages).content, NAME_ANSWER);
}

function streamed() {
  const lines = call("Stream", [user(SUM)]).replaceAll(/^}\n?/gm, "}\0").split("\0").filter(Boolean);
  const deltas = lines.map((line) => JSON.parse(line).choices?.[0]?.delta?.content ?? "");
  assert.equal(deltas.join(""), SUM_ANSWER);
}

function tools() {
  const parameters = JSON.stringify(WEATHER_PARAMETERS);
  const declared = { name: "get_weather", description: "Get the current weather in a city.", parameters };
  const options = { tools: [{ type: "TOOL_TYPE_FUNCTION", function: declared }] };
  const messages = [user(WEATHER)];
  const { role, toolCalls } = complete(messages, options);
  messages.push({ role, toolCalls });
  for (const { id, function: asked } of toolCalls) {
    messages.push({ role: "ROLE_TOOL", toolCallId: id, text: JSON.stringify(getWeather(JSON.parse(asked.arguments))) });
  }
  assert.equal(complete(messages, options).content, WEATHER_ANSWER);
}

function structured() {
  const jsonSchema = { name: "person", schema: JSON.stringify(PERSON_SCHEMA) };
  const answer = complete([user(PERSON)], {
    responseFormat: { type: "RESPONSE_FORMAT_TYPE_JSON_SCHEMA", jsonSchema },
  });
  assert.deepEqual(JSON.parse(answer.content), PERSON_ANSWER);
}

await run(plain, streamed, tools, structured);
