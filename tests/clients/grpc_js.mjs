// grpc-js with the protocol's files loaded at run time: messages are plain objects.

import assert from "node:assert/strict";

import grpc from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";

import {
  GRPC, MODEL, NAME, NAME_ANSWER, PERSON, PERSON_ANSWER, PERSON_SCHEMA, SUM, SUM_ANSWER, WEATHER, WEATHER_ANSWER,
  WEATHER_PARAMETERS, getWeather, run,
} from "./checks.mjs";

const definition = loadSync("jaxchat/v1/service.proto", {
  includeDirs: [process.env.JAXCHAT_PROTO], keepCase: true, enums: String, longs: Number, oneofs: true,
});
const { ChatService } = grpc.loadPackageDefinition(definition).jaxchat.v1;
const service = new ChatService(GRPC, grpc.credentials.createInsecure());
const user = (text) => ({ role: "ROLE_USER", text });
const sentBack = ({ role, content, tool_calls }) => ({ role, text: content, tool_calls });

function complete(messages, options = {}) {
  const request = { model: MODEL, temperature: 0, messages, ...options };
  return new Promise((resolve, reject) => {
    service.Complete(request, (error, answer) => (error ? reject(error) : resolve(answer.choices[0].message)));
  });
}

async function plain() {
  const messages = [user("I am Bob.")];
  messages.push(sentBack(await complete(messages)), user(NAME));
  assert.equal((await complete(messages)).content, NAME_ANSWER);
}

async function streamed() {
  let text = "";
  for await (const chunk of service.Stream({ model: MODEL, temperature: 0, messages: [user(SUM)] })) {
    text += chunk.choices[0]?.delta.content ?? "";
  }
  assert.equal(text, SUM_ANSWER);
}

async function tools() {
  const messages = [user(WEATHER)];
  const declared = {
    name: "get_weather",
    description: "Get the current weather in a city.",
    parameters: JSON.stringify(WEATHER_PARAMETERS),
  };
  const options = { tools: [{ type: "TOOL_TYPE_FUNCTION", function: declared }] };
  let message = await complete(messages, options);
  messages.push(sentBack(message));
  for (const call of message.tool_calls) {
    const text = JSON.stringify(getWeather(JSON.parse(call.function.arguments)));
    messages.push({ role: "ROLE_TOOL", tool_call_id: call.id, text });
  }
  message = await complete(messages, options);
  assert.equal(message.content, WEATHER_ANSWER);
}

async function structured() {
  const json_schema = { name: "person", schema: JSON.stringify(PERSON_SCHEMA) };
  const options = { response_format: { type: "RESPONSE_FORMAT_TYPE_JSON_SCHEMA", json_schema } };
  assert.deepEqual(JSON.parse((await complete([user(PERSON)], options)).content), PERSON_ANSWER);
}

await run(plain, streamed, tools, structured);
