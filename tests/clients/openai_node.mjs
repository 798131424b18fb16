// openai for Node: streams, `runTools`, and `parse` with a history.

import assert from "node:assert/strict";

import OpenAI from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";

import {
  MODEL, NAME, NAME_ANSWER, PERSON, PERSON_ANSWER, SUM, SUM_ANSWER, URL, WEATHER, WEATHER_ANSWER, WEATHER_PARAMETERS,
  getWeather, run,
} from "./checks.mjs";

const client = new OpenAI({ baseURL: URL, apiKey: "none" });
const model = MODEL;
const temperature = 0;

async function plain() {
  const messages = [{ role: "user", content: "I am Bob." }];
  const first = await client.chat.completions.create({ model, temperature, messages });
  messages.push(first.choices[0].message, { role: "user", content: NAME });
  const second = await client.chat.completions.create({ model, temperature, messages });
  assert.equal(second.choices[0].message.content, NAME_ANSWER);
}

async function streamed() {
  const messages = [{ role: "user", content: SUM }];
  const stream = client.chat.completions.stream({ model, temperature, messages });
  let text = "";
  for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? "";
  assert.equal(text, SUM_ANSWER);
  messages.push(await stream.finalMessage(), { role: "user", content: "What did I just ask?" });
  const next = await client.chat.completions.create({ model, temperature, messages });
  assert.equal(next.choices[0].message.content, `You asked: "${SUM}"`);
}

async function tools() {
  for (const stream of [false, true]) {
    const runner = client.chat.completions.runTools({
      model,
      temperature,
      stream,
      messages: [{ role: "user", content: WEATHER }],
      tools: [
        {
          type: "function",
          function: {
            name: "get_weather",
            description: "Get the current weather in a city.",
            parameters: WEATHER_PARAMETERS,
            parse: JSON.parse,
            function: (city) => JSON.stringify(getWeather(city)),
          },
        },
      ],
    });
    assert.equal(await runner.finalContent(), WEATHER_ANSWER);
  }
}

async function structured() {
  const Person = z.object({ name: z.string(), age: z.number().int() });
  const messages = [{ role: "user", content: PERSON }];
  for (let turn = 0; turn < 2; turn++) {
    const answer = await client.chat.completions.parse({
      model, temperature, messages, response_format: zodResponseFormat(Person, "person"),
    });
    assert.deepEqual(answer.choices[0].message.parsed, PERSON_ANSWER);
    messages.push(answer.choices[0].message, { role: "user", content: PERSON });
  }
}

await run(plain, streamed, tools, structured);
