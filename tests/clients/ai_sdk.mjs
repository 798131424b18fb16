// The AI SDK with its OpenAI provider: `openai(...)` calls `/v1/responses`, `openai.chat(...)` chat completions.

import assert from "node:assert/strict";

import { createOpenAI } from "@ai-sdk/openai";
import { generateText, stepCountIs, Output, streamText, tool } from "ai";
import { z } from "zod";

import {
  MODEL, NAME, NAME_ANSWER, PERSON, PERSON_ANSWER, SUM, SUM_ANSWER, URL, WEATHER, WEATHER_ANSWER, getWeather, run,
} from "./checks.mjs";

const openai = createOpenAI({ baseURL: URL, apiKey: "none" });
const models = [openai(MODEL), openai.chat(MODEL)];
const temperature = 0;
// Without it, the provider refers to its earlier answers by ids, which the server does not store.
const providerOptions = { openai: { store: false } };

async function plain() {
  for (const model of models) {
    const messages = [{ role: "user", content: "I am Bob." }];
    const first = await generateText({ model, temperature, messages });
    messages.push(...first.response.messages, { role: "user", content: NAME });
    assert.equal((await generateText({ model, temperature, messages, providerOptions })).text, NAME_ANSWER);
  }
}

async function streamed() {
  for (const model of models) {
    const messages = [{ role: "user", content: SUM }];
    const result = streamText({ model, temperature, messages });
    let text = "";
    for await (const part of result.textStream) text += part;
    assert.equal(text, SUM_ANSWER);
    messages.push(...(await result.response).messages, { role: "user", content: "What did I just ask?" });
    const answer = await generateText({ model, temperature, messages, providerOptions });
    assert.equal(answer.text, `You asked: "${SUM}"`);
  }
}

async function tools() {
  const get_weather = tool({
    description: "Get the current weather in a city.",
    inputSchema: z.object({ city: z.string() }),
    execute: getWeather,
  });
  for (const model of models) {
    const request = { model, temperature, prompt: WEATHER, tools: { get_weather }, stopWhen: stepCountIs(3) };
    assert.equal((await generateText(request)).text, WEATHER_ANSWER);
    assert.equal(await streamText(request).text, WEATHER_ANSWER);
  }
}

async function structured() {
  const schema = z.object({ name: z.string(), age: z.number().int() });
  for (const model of models) {
    const answer = await generateText({ model, temperature, prompt: PERSON, output: Output.object({ schema }) });
    assert.deepEqual(answer.output, PERSON_ANSWER);
  }
}

await run(plain, streamed, tools, structured);
