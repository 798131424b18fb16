// jaxchat over gRPC with Connect: `npm start -- [HOST:PORT]`.

import type { MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError, createClient, type Client } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";

import { BadRequestSchema } from "./gen/google/rpc/error_details_pb.js";
import { type ChatMessageSchema, Role, ToolType } from "./gen/jaxchat/v1/chat_pb.js";
import { ChatService } from "./gen/jaxchat/v1/service_pb.js";

type Chat = Client<typeof ChatService>;
type Message = MessageInitShape<typeof ChatMessageSchema>;

const model = "jaxchat-bundled";
const sum = "What is 47 + 38?";
const weather = "What is the weather in Oslo?";
const result = '{"temperature": 18, "condition": "sunny"}';
const parameters = {
  type: "object",
  properties: { city: { type: "string" }, unit: { enum: ["celsius", "fahrenheit"] } },
  required: ["city", "unit"],
  additionalProperties: false,
};
const tool = {
  type: ToolType.FUNCTION,
  function: { name: "get_weather", parameters: JSON.stringify(parameters) },
};

// Arguments of the tool. The server only returns calls that satisfy the schema.
interface Weather {
  city: string;
  unit: "celsius" | "fahrenheit";
}

function text(role: Role, value: string): Message {
  return { role, contentKind: { case: "text", value } };
}

// Asks the same question twice, plain and streamed: the same seed gives the same text.
async function answers(chat: Chat): Promise<void> {
  const request = { model, messages: [text(Role.USER, sum)], seed: 7n };
  const plain = await chat.complete(request);
  console.log(`plain: ${plain.choices[0]?.message?.content}`);
  let streamed = "";
  let fingerprint = "";
  for await (const chunk of chat.stream(request)) {
    fingerprint = chunk.systemFingerprint;
    for (const choice of chunk.choices) streamed += choice.delta?.content ?? "";
  }
  console.log(`streamed: ${streamed}`);
  const same = streamed === plain.choices[0]?.message?.content && fingerprint === plain.systemFingerprint;
  console.log(`seed: ${plain.seedUsed}, ${fingerprint}, ${same ? "same" : "other"} answer`);
}

async function tools(chat: Chat): Promise<void> {
  const messages = [text(Role.USER, weather)];
  const request = { model, tools: [tool], temperature: 0 };
  const named = { type: ToolType.FUNCTION, name: "get_weather" };
  const toolChoice = { choice: { case: "named", value: named } } as const;
  const message = (await chat.complete({ ...request, messages, toolChoice })).choices[0]?.message;
  if (!message) throw new Error("no answer");
  messages.push({ role: message.role, toolCalls: message.toolCalls });
  for (const call of message.toolCalls) {
    const args = JSON.parse(call.function?.arguments ?? "") as Weather;
    console.log(`call: ${call.function?.name} city=${args.city} unit=${args.unit}`);
    messages.push({ ...text(Role.TOOL, result), toolCallId: call.id });
  }
  const answer = await chat.complete({ ...request, messages });
  console.log(`answer: ${answer.choices[0]?.message?.content}`);
}

async function error(chat: Chat): Promise<void> {
  try {
    await chat.complete({ model, messages: [text(Role.USER, sum)], temperature: 9 });
  } catch (refused) {
    for (const details of ConnectError.from(refused).findDetails(BadRequestSchema)) {
      for (const { field, description } of details.fieldViolations) console.log(`error: ${field}: ${description}`);
    }
  }
}

// Ends two answers early, which frees the server for others at once.
async function limits(chat: Chat): Promise<void> {
  const endless = { model, messages: [text(Role.USER, sum)], ignoreEos: true };
  try {
    await chat.complete(endless, { timeoutMs: 100 });
  } catch (late) {
    console.log(`deadline: ${ConnectError.from(late).code === Code.DeadlineExceeded ? "exceeded" : late}`);
  }
  let chunks = 0;
  const abort = new AbortController();
  try {
    for await (const _ of chat.stream(endless, { signal: abort.signal })) {
      if (++chunks === 3) abort.abort();
    }
  } catch (ended) {
    if (ConnectError.from(ended).code !== Code.Canceled) throw ended;
    console.log(`cancelled: after ${chunks} chunks`);
  }
}

const address = process.argv[2] ?? "localhost:50051";
const chat = createClient(ChatService, createGrpcTransport({ baseUrl: `http://${address}` }));
for (const example of [answers, tools, error, limits]) await example(chat);
process.exit(); // otherwise the open connection keeps the program alive
