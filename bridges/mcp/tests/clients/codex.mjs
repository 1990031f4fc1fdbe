// Runs `codex exec` with a model on loopback that asks for calls of mcp_server, directly and
// through the proxy. agent_host must read the same counts from the session that Codex records.
import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { all, bin, example, folder, proxied, read, run } from "./lib.mjs";

const files = join(folder, "files");
mkdirSync(files);
writeFileSync(join(files, "a.txt"), "one\ntwo\n");

/** The calls that the model asks for, one a turn. */
const plan = [
  ["list", { path: "." }],
  ["read", { path: "a.txt" }],
  ["read", { path: "none.txt" }],
  ["search", { path: "a.txt", text: "two" }],
  ["fail", {}],
  ["hash", { path: "a.txt" }],
];

/** Starts a model that follows the plan, and keeps the requests that it gets. */
function model() {
  const requests = [];
  const server = createServer((request, response) => {
    let body = "";
    request.on("data", (text) => (body += text));
    request.on("end", () => {
      if (request.method !== "POST" || !request.url.endsWith("/responses")) {
        response.writeHead(404).end();
        return;
      }
      requests.push(JSON.parse(body));
      response.writeHead(200, { "content-type": "text/event-stream" });
      const turn = requests.length;
      const send = (type, rest) =>
        response.write(`event: ${type}\ndata: ${JSON.stringify({ type, ...rest })}\n\n`);
      const id = `resp_${turn}`;
      const call = plan[turn - 1];
      const item = call
        ? {
            type: "function_call",
            id: `fc_${turn}`,
            call_id: `call_${turn}`,
            ...named(call[0], requests[0]),
            arguments: JSON.stringify(call[1]),
          }
        : {
            type: "message",
            id: `msg_${turn}`,
            role: "assistant",
            content: [{ type: "output_text", text: "done" }],
          };
      send("response.created", { response: { id } });
      send("response.output_item.done", { output_index: 0, item });
      const usage = { input_tokens: 1, output_tokens: 1, total_tokens: 2 };
      send("response.completed", { response: { id, usage } });
      response.end();
    });
  });
  return new Promise((done) => {
    server.listen(0, "127.0.0.1", () => done({ server, requests, port: server.address().port }));
  });
}

/** Returns the name by which this version of Codex offers a tool of the server to the model. */
function named(name, request) {
  for (const tool of request.tools) {
    if (tool.type === "namespace" && tool.tools?.some((inner) => inner.name === name)) {
      return { namespace: tool.name, name };
    }
    if (tool.name === `mcp__files__${name}`) return { name: tool.name };
  }
  throw new Error(`not offered: ${name}, in ${JSON.stringify(request.tools).slice(0, 2000)}`);
}

const build = ["cargo", "build", "--quiet", "--package", "toolmeter", "--example", "agent_host"];
const built = await run(build, { cwd: import.meta.dirname });
assert.equal(built.status, 0, built.stderr);

/** Returns the counts of each tool that agent_host reads from the sessions in a folder. */
async function recorded(sessions) {
  const flags = ["--trace", sessions, "--stats", "--json"];
  const done = await run([example("agent_host"), ...flags]);
  assert.equal(done.status, 0, done.stderr);
  const { tools, read } = JSON.parse(done.stdout);
  assert.deepEqual(read.files, { Codex: 1 });
  assert.equal(read.unknown_lines + read.broken_lines + read.results_without_call, 0, done.stdout);
  const counts = Object.entries(tools).map(([name, { calls, failed, failures_by_kind, cancelled, denied }]) => [
    name.replace("mcp__files__", ""),
    { success: calls - failed - cancelled - denied, failures: failures_by_kind, cancelled, in_flight: 0 },
  ]);
  return Object.fromEntries(counts);
}

async function session(isProxied) {
  const inside = join(folder, `codex-server-${isProxied}.json`);
  const outside = join(folder, `codex-proxy-${isProxied}.json`);
  let command = [example("mcp_server"), "--snapshot", inside, files];
  if (isProxied) command = proxied(outside, command);
  const { server, requests, port } = await model();
  const home = join(folder, `codex-${isProxied}`);
  mkdirSync(home);
  writeFileSync(
    join(home, "config.toml"),
    `model = "scripted"
model_provider = "loopback"
approval_policy = "never"
sandbox_mode = "danger-full-access"
[model_providers.loopback]
name = "loopback"
base_url = "http://127.0.0.1:${port}/v1"
wire_api = "responses"
requires_openai_auth = false
request_max_retries = 0
stream_max_retries = 0
[mcp_servers.files]
command = ${JSON.stringify(command[0])}
args = ${JSON.stringify(command.slice(1))}
`,
  );
  const codex = [process.execPath, bin("@openai/codex/bin/codex.js"), "exec", "--json"];
  const words = ["--skip-git-repo-check", "-C", files, "call the tools"];
  const env = { PATH: process.env.PATH, HOME: home, CODEX_HOME: home };
  const done = await run([...codex, ...words], { env, timeout: 40_000 });
  server.close();
  server.closeAllConnections();
  assert.equal(done.status, 0, done.stderr + done.stdout);
  const events = done.stdout.trim().split("\n").map((line) => JSON.parse(line));
  const calls = events.filter(
    ({ type, item }) => type === "item.completed" && item.type === "mcp_tool_call",
  );
  // The client's own counts, from its event for each call.
  const own = {};
  for (const { item } of calls) {
    const tool = (own[item.tool] ??= { success: 0, failures: {}, cancelled: 0, in_flight: 0 });
    if (item.status === "completed" && !item.error && !item.result?.is_error) tool.success += 1;
    else tool.failures.tool_error = (tool.failures.tool_error ?? 0) + 1;
  }
  assert.equal(calls.length, plan.length, JSON.stringify(events).slice(0, 3000));
  assert.equal(requests.length, plan.length + 1);
  const sorted = Object.fromEntries(Object.entries(own).sort());
  assert.deepEqual(all(read(inside)), sorted);
  if (isProxied) assert.deepEqual(all(read(outside)), sorted);
  assert.deepEqual(await recorded(join(home, "sessions")), sorted);
  return sorted;
}

const alone = await session(false);
assert.deepEqual(await session(true), alone);
assert.deepEqual(alone.read, {
  success: 1,
  failures: { tool_error: 1 },
  cancelled: 0,
  in_flight: 0,
});
console.log(
  `codex: ${plan.length} calls, directly, through the proxy and as recorded: the counts are the client's own`,
);
