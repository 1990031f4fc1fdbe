// mcp_host with two reference servers at once: answers, progress, and a call beyond its limit.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { all, everything, example, folder, read, run } from "./lib.mjs";

const plan = join(folder, "plan.jsonl");
const file = join(folder, "host.json");
const long = (server, duration) => ({
  tool: `${server}/trigger-long-running-operation`,
  arguments: { duration, steps: 4 },
});
const turns = [
  ["server_1", "server_2"].map((server) => ({
    tool: `${server}/echo`,
    arguments: { message: "hello" },
  })),
  [long("server_1", 0.4), { tool: "server_2/get-sum", arguments: { a: 2, b: 3 } }],
  { tool: "server_2/get-sum", arguments: { a: "x" } },
  long("server_2", 8),
];
writeFileSync(plan, turns.map((turn) => JSON.stringify(turn) + "\n").join(""));
const words = ["--snapshot", file, "--plan", plan, "--limit", "4"];
const done = await run([example("mcp_host"), ...words, "--", ...everything, "--", ...everything]);
const tool = (success, failures = {}) => ({ success, failures, cancelled: 0, in_flight: 0 });
assert.deepEqual(
  all(read(file)),
  {
    "server_1/echo": tool(1),
    "server_1/trigger-long-running-operation": tool(1),
    "server_2/echo": tool(1),
    "server_2/get-sum": tool(1, { invalid_args: 1 }),
    "server_2/trigger-long-running-operation": tool(0, { timeout: 1 }),
  },
  done.stderr,
);
assert.ok(done.stderr.split("\n").filter((line) => line.startsWith("server_1: ")).length >= 4);
console.log("host: two reference servers at once, each call as it was planned");
