// What the JavaScript programs share: the server, questions that the bundled model can answer, and the report of checks.

import assert from "node:assert/strict";

export const URL = process.env.JAXCHAT_URL; // ends in /v1
export const GRPC = process.env.JAXCHAT_GRPC; // host:port
export const MODEL = process.env.JAXCHAT_MODEL;

export const SUM = "What is 47 + 38?";
export const SUM_ANSWER = "47 + 38 = 85.";
export const NAME = "What is my name?"; // after "I am Bob."
export const NAME_ANSWER = "Your name is Bob.";
export const WEATHER = "What is the weather in Oslo?";
export const WEATHER_ANSWER = "It is 18 degrees and sunny in Oslo.";
export const PERSON = "Extract name and age as JSON: Maria Lopez is 34 and lives in Oslo.";
export const PERSON_ANSWER = { name: "Maria Lopez", age: 34 };
export const WEATHER_PARAMETERS = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
export const PERSON_SCHEMA = {
  type: "object",
  properties: { name: { type: "string" }, age: { type: "integer" } },
  required: ["name", "age"],
};

export function getWeather({ city }) {
  assert.equal(city, "Oslo");
  return { temperature: 18, condition: "sunny" };
}

// Runs all checks, prints a line for each, and exits with status 1 if one failed.
export async function run(...checks) {
  let failed = 0;
  for (const check of checks) {
    try {
      await check();
      console.log(`check ${check.name}: passed`);
    } catch (error) {
      failed = 1;
      console.error(error);
      console.log(`check ${check.name}: failed`);
    }
  }
  process.exit(failed);
}
