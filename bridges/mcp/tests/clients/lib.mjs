// Functions that the scripts share: paths of the programs, snapshots, and a client of lines.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

export const example = (name) => join(process.env.EXAMPLES, name);
export const bin = (path) => join(import.meta.dirname, "node_modules", path);
export const everything = [
  process.execPath,
  bin("@modelcontextprotocol/server-everything/dist/index.js"),
];

/** A folder that is removed when the process ends. */
export const folder = mkdtempSync(join(tmpdir(), "toolmeter-clients-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));

export const proxied = (snapshot, command) => [
  example("mcp_proxy"),
  "--snapshot",
  snapshot,
  "--",
  ...command,
];

export const read = (file) => JSON.parse(readFileSync(file, "utf8"));

/** Returns the counts of one tool that the scripts compare. */
export function counts(snapshot, name) {
  const tool = snapshot.tools[name] ?? {};
  const kinds = Object.entries(tool.failures_by_kind ?? {}).filter(([, count]) => count > 0);
  return {
    success: tool.success ?? 0,
    failures: Object.fromEntries(kinds.sort()),
    cancelled: tool.cancelled ?? 0,
    in_flight: tool.in_flight ?? 0,
  };
}

/** Returns the tools that were called, and their counts. */
export function all(snapshot) {
  const called = Object.keys(snapshot.tools).filter((name) => {
    const tool = counts(snapshot, name);
    return tool.success + tool.cancelled + tool.in_flight + Object.keys(tool.failures).length > 0;
  });
  return Object.fromEntries(called.sort().map((name) => [name, counts(snapshot, name)]));
}

/** Waits until a condition holds, at most for a minute, since several processes may have to start. */
export async function until(what, condition) {
  for (const end = Date.now() + 60_000; Date.now() < end; ) {
    if (condition()) return;
    await new Promise((done) => setTimeout(done, 20));
  }
  assert.fail(`not within a minute: ${what}`);
}

/** Runs a program to its end. */
export function run(command, options = {}) {
  const child = spawn(command[0], command.slice(1), { stdio: ["ignore", "pipe", "pipe"], ...options });
  let stdout = "";
  let stderr = "";
  child.stdout.on("data", (text) => (stdout += text));
  child.stderr.on("data", (text) => (stderr += text));
  return new Promise((done, failed) => {
    child.on("error", failed);
    child.on("close", (status, signal) => done({ status, signal, stdout, stderr }));
  });
}

/** A client that writes and reads plain lines, so that they are compared as they were written. */
export class Lines {
  constructor(command) {
    this.child = spawn(command[0], command.slice(1), { stdio: ["pipe", "pipe", "ignore"] });
    this.heard = [];
    this.waiting = new Map();
    this.ended = new Promise((done) => this.child.on("close", (status) => done(status)));
    createInterface({ input: this.child.stdout }).on("line", (line) => {
      this.heard.push(line);
      const message = JSON.parse(line);
      if (message.method === undefined) this.waiting.get(message.id)?.(message);
    });
  }

  say(message) {
    this.child.stdin.write(JSON.stringify({ jsonrpc: "2.0", ...message }) + "\n");
  }

  ask(id, method, params = {}) {
    const answer = new Promise((done, failed) => {
      this.waiting.set(id, done);
      this.ended.then(() => failed(new Error(`ended before it answered ${id}`)));
    });
    this.say({ id, method, params });
    return answer;
  }

  async begin(capabilities = {}) {
    await this.ask("begin", "initialize", {
      protocolVersion: "2025-06-18",
      capabilities,
      clientInfo: { name: "lines", version: "1" },
    });
    this.say({ method: "notifications/initialized" });
  }

  end() {
    this.child.stdin.end();
    return this.ended;
  }
}
