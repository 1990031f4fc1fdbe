// Runs mcp_host with two reference servers at once. It calls each tool that they list, and the
// long-running one also so that it is cancelled, exceeds its limit, and loses its server. The
// expected count of each call is derived from the server's answer to a client of lines, and from the
// plan.
import assert from "node:assert/strict";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Lines, all, counts, everything, example, folder, read, run, until } from "./lib.mjs";

const servers = ["server_1", "server_2"];
const long = "trigger-long-running-operation";

/** Arguments for each tool, with which it needs no network. */
const given = {
  echo: { message: "hello" },
  "get-annotated-message": { messageType: "error", includeImage: true },
  "get-env": {},
  "get-resource-links": { count: 2 },
  "get-resource-reference": { resourceType: "Text", resourceId: 1 },
  "get-roots-list": {},
  "get-structured-content": { location: "Chicago" },
  "get-sum": { a: 2, b: 3 },
  "get-tiny-image": {},
  "gzip-file-as-resource": { name: "a.gz", data: "data:text/plain,a", outputType: "resource" },
  "simulate-research-query": { topic: "tools" },
  "toggle-simulated-logging": {},
  "toggle-subscriber-updates": {},
  [long]: { duration: 0.4, steps: 4 },
  "trigger-elicitation-request": {},
  "trigger-elicitation-request-async": {},
  "trigger-sampling-request": { prompt: "hello" },
  "trigger-sampling-request-async": { prompt: "hello" },
  "trigger-url-elicitation": { url: "https://example.invalid/" },
};

/** Capabilities that mcp_host does not have, and for which the server offers further tools. */
const capable = {
  roots: {},
  sampling: {},
  elicitation: { form: {}, url: {} },
  tasks: { requests: { sampling: { createMessage: {} }, elicitation: { create: {} } } },
};

/** Connects to a server, uses it, and kills it, since one that logs does not end by itself. */
async function connected(capabilities, use) {
  const client = new Lines(everything);
  try {
    await client.begin(capabilities);
    return await use(client);
  } finally {
    client.child.kill("SIGKILL");
    await client.ended;
  }
}

const names = async (client) => (await client.ask("list", "tools/list")).result.tools.map(({ name }) => name);

/** Returns the outcome as which an answer to a call is counted. */
function kind({ result, error }) {
  if (error === undefined && result.isError !== true) return "success";
  const text = error?.message ?? result.content[0].text;
  if (/^MCP error -32602: Tool .* not found$/.test(text)) return "unknown";
  if (text.startsWith("MCP error -32602: Input validation error")) return "invalid_args";
  // A tool that can only be called as a task refuses a plain call.
  if (text.startsWith("MCP error -32601: ")) return "not_found";
  return "tool_error";
}

/** The steps of a plan, and the counts that they must result in. */
class Plan {
  turns = [];
  counts = {};
  unknown = 0;
  attempts = 0;

  /** Adds calls that are made at once: server, tool, arguments, the expected count, and limits. */
  turn(...calls) {
    const steps = calls.map(({ server, tool, args, counted, ...limits }) => {
      const name = `${server}/${tool}`;
      this.attempts += 1;
      if (counted === "unknown") {
        this.unknown += 1;
      } else {
        const own = (this.counts[name] ??= { success: 0, failures: {}, cancelled: 0, in_flight: 0 });
        if (counted === "success" || counted === "cancelled") own[counted] += 1;
        else own.failures[counted] = (own.failures[counted] ?? 0) + 1;
      }
      return { tool: name, arguments: args, ...limits };
    });
    this.turns.push(steps);
  }

  write(name) {
    const path = join(folder, name);
    writeFileSync(path, this.turns.map((turn) => JSON.stringify(turn) + "\n").join(""));
    return path;
  }

  check(done, file) {
    const snapshot = read(file);
    const expected = Object.fromEntries(Object.entries(this.counts).sort());
    assert.equal(done.status, 0, done.stderr);
    assert.deepEqual(all(snapshot), expected, done.stderr);
    assert.equal(snapshot.unknown_tool_calls, this.unknown, done.stderr);
    const summary = `${this.turns.length} turns, ${this.attempts} attempts, 0 retries\n`;
    assert.equal(done.stdout, summary, done.stderr);
  }
}

// A host without capabilities is offered fewer tools. The others are called as well.
const offered = await connected(capable, names);
const { listed, answers } = await connected({}, async (client) => {
  const listed = await names(client);
  const answers = {};
  for (const name of new Set([...listed, ...offered])) {
    assert.ok(name in given, `there are no arguments for ${name}`);
    answers[name] = await client.ask(name, "tools/call", { name, arguments: given[name] });
  }
  return { listed, answers };
});
assert.ok(listed.length > 10 && offered.length > listed.length);

const plan = new Plan();
for (const [name, answer] of Object.entries(answers)) {
  const counted = kind(answer);
  assert.equal(counted === "unknown", !listed.includes(name), JSON.stringify(answer));
  plan.turn(...servers.map((server) => ({ server, tool: name, args: given[name], counted })));
}
plan.turn({ server: "server_2", tool: "get-sum", args: { a: "x" }, counted: "invalid_args" });
// These calls report no progress before they end, and end only after ten minutes.
const endless = { tool: long, args: { duration: 600, steps: 1 } };
plan.turn(
  { server: "server_1", ...endless, counted: "cancelled", cancel_after: 1 },
  { server: "server_2", ...endless, counted: "timeout", limit: 1 },
  { server: "server_1", tool: "echo", args: given.echo, counted: "success" },
);
// The limit of all calls is also that of a server's start, so it is much longer than a start takes.
const host = (plan, file, ...commands) => [
  example("mcp_host"),
  ...["--snapshot", file, "--plan", plan, "--limit", "300"],
  ...commands.flatMap((command) => ["--", ...command]),
];
const file = join(folder, "host.json");
// `run` returns when no process has stderr open any more, so no server outlives the host, although
// those that log and those that wait for a timer do not end when their input is closed.
const done = await run(host(plan.write("all.jsonl"), file, everything, everything));
plan.check(done, file);
for (const server of servers) {
  const progress = done.stderr.split("\n").filter((line) => line.startsWith(`${server}: `));
  assert.deepEqual(progress.sort(), [1, 2, 3, 4].map((step) => `${server}: ${step} of 4 null`));
}

// A server is killed with five calls in flight. The other one goes on.
const killing = new Plan();
const echo = { tool: "echo", args: given.echo };
killing.turn(
  ...Array.from({ length: 5 }, () => ({ server: "server_1", ...endless, counted: "network" })),
  { server: "server_2", ...echo, counted: "success" },
);
killing.turn(
  { server: "server_1", ...echo, counted: "network" },
  { server: "server_2", ...echo, counted: "success" },
);
const pid = join(folder, "pid");
const killable = ["sh", "-c", `echo $$ > '${pid}'; exec "$@"`, "sh", ...everything];
const killed = join(folder, "killed.json");
const abort = new AbortController();
const running = run(host(killing.write("killed.jsonl"), killed, killable, everything), {
  signal: abort.signal,
});
try {
  await until("the host's start", () => existsSync(killed));
  await until("five in flight", () => counts(read(killed), `server_1/${long}`).in_flight === 5);
  process.kill(Number(readFileSync(pid, "utf8")), "SIGKILL");
} catch (error) {
  // The host ends its servers at SIGTERM.
  running.catch(() => {});
  abort.abort();
  throw error;
}
killing.check(await running, killed);

console.log(
  `host: two reference servers, ${plan.attempts + killing.attempts} calls, ` +
    `${offered.length} tools: the counts are as derived`,
);
