// The Codex command line, whose requests go to `/v1/responses`: one question, and a second one in the same session.
//
// Without its longer instructions and most of its tools, which exceed the context of the bundled model.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { homedir } from "node:os";
import { join } from "node:path";

import { MODEL, SUM, URL, run } from "./checks.mjs";

// Passes requests on with a temperature of 0, which codex cannot set and without which the small model rambles.
const proxy = createServer(async (request, reply) => {
  let text = "";
  for await (const part of request) text += part;
  const body = JSON.stringify({ ...JSON.parse(text), temperature: 0 });
  const headers = { "content-type": "application/json" };
  const answer = await fetch(URL.replace("/v1", "") + request.url, { method: "POST", headers, body });
  reply.writeHead(answer.status, { "content-type": answer.headers.get("content-type") });
  reply.end(await answer.text());
});
await new Promise((listening) => proxy.listen(0, "127.0.0.1", listening));

const home = mkdtempSync(join(homedir(), ".codex-jaxchat-")); // codex refuses a home in the folder for temporary files
const instructions = join(home, "instructions.md");
writeFileSync(instructions, "Answer briefly.");
writeFileSync(
  join(home, "config.toml"),
  `
model = "${MODEL}"
model_provider = "jaxchat"
web_search = "disabled"
model_instructions_file = "${instructions}"
include_permissions_instructions = false
include_environment_context = false

[features]
goals = false
unified_exec = false

[agents]
enabled = false

[skills.bundled]
enabled = false

[model_providers.jaxchat]
name = "jaxchat"
base_url = "http://127.0.0.1:${proxy.address().port}/v1"
wire_api = "responses"
request_max_retries = 0
stream_max_retries = 0
`,
);

// Returns the events that codex prints.
async function codex(...args) {
  const options = { env: { ...process.env, CODEX_HOME: home } };
  const output = await new Promise((ended) => {
    const child = execFile("node_modules/.bin/codex", ["exec", ...args], options, (error, out, err) => ended(out + err));
    child.stdin.end();
  });
  return output.split("\n").filter((line) => line.startsWith("{")).map((line) => JSON.parse(line));
}

function checkTurn(events) {
  const last = events.at(-1);
  assert.equal(last?.type, "turn.completed", JSON.stringify(events));
  assert.ok(last.usage.input_tokens > 0 && last.usage.output_tokens > 0);
  assert.ok(events.some((event) => event.item?.type === "agent_message" && event.item.text));
}

async function streamed() {
  checkTurn(await codex("--skip-git-repo-check", "--json", SUM));
}

async function history() {
  checkTurn(await codex("resume", "--last", "--skip-git-repo-check", "--json", "What did I just ask?"));
}

process.on("exit", () => rmSync(home, { recursive: true, force: true }));
await run(streamed, history);
