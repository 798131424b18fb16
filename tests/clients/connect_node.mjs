// connect-node over its gRPC transport, with code that `buf generate` makes from the protocol.

import assert from "node:assert/strict";

import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";

import {
  GRPC, MODEL, NAME, NAME_ANSWER, PERSON, PERSON_ANSWER, PERSON_SCHEMA, SUM, SUM_ANSWER, WEATHER, WEATHER_ANSWER,
  WEATHER_PARAMETERS, getWeather, run,
} from "./checks.mjs";
import { ResponseFormatType, Role, ToolType } from "./gen/jaxchat/v1/chat_pb.js";
import { ChatService } from "./gen/jaxchat/v1/service_pb.js";

const client = createClient(ChatService, createGrpcTransport({ baseUrl: `http://${GRPC}` }));
const text = (role, value) => ({ role, contentKind: { case: "text", value } });
const user = (value) => text(Role.USER, value);

async function complete(messages, options = {}) {
  const answer = await client.complete({ model: MODEL, temperature: 0, messages, ...options });
  return answer.choices[0].message;
}

async function plain() {
  const messages = [user("I am Bob.")];
  const message = await complete(messages);
  messages.push(text(message.role, message.content), user(NAME));
  assert.equal((await complete(messages)).content, NAME_ANSWER);
}

async function streamed() {
  let answer = "";
  for await (const chunk of client.stream({ model: MODEL, temperature: 0, messages: [user(SUM)] })) {
    answer += chunk.choices[0]?.delta?.content ?? "";
  }
  assert.equal(answer, SUM_ANSWER);
}

async function tools() {
  const messages = [user(WEATHER)];
  const declared = {
    name: "get_weather",
    description: "Get the current weather in a city.",
    parameters: JSON.stringify(WEATHER_PARAMETERS),
  };
  const options = { tools: [{ type: ToolType.FUNCTION, function: declared }] };
  const { role, toolCalls } = await complete(messages, options);
  messages.push({ role, toolCalls });
  for (const call of toolCalls) {
    const result = JSON.stringify(getWeather(JSON.parse(call.function.arguments)));
    messages.push({ ...text(Role.TOOL, result), toolCallId: call.id });
  }
  assert.equal((await complete(messages, options)).content, WEATHER_ANSWER);
}

async function structured() {
  const jsonSchema = { name: "person", schema: JSON.stringify(PERSON_SCHEMA) };
  const options = { responseFormat: { type: ResponseFormatType.JSON_SCHEMA, jsonSchema } };
  assert.deepEqual(JSON.parse((await complete([user(PERSON)], options)).content), PERSON_ANSWER);
}

await run(plain, streamed, tools, structured);
