// Makes 60 calls of mcp_server by the SDK's client, and compares the counts with the client's own.
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { counts, example, folder, proxied, read, until } from "./lib.mjs";

writeFileSync(join(folder, "a.txt"), "one\ntwo\n");

/** Makes the calls in one session, and checks the counts of the server and the proxy. */
async function session(isProxied) {
  const snapshot = join(folder, `server-${isProxied}.json`);
  const outside = join(folder, `proxy-${isProxied}.json`);
  let command = [example("mcp_server"), "--snapshot", snapshot, folder];
  if (isProxied) command = proxied(outside, command);
  const transport = new StdioClientTransport({
    command: command[0],
    args: command.slice(1),
    stderr: "ignore",
  });
  const client = new Client({ name: "proof", version: "1" });
  await client.connect(transport);
  await client.listTools();
  const seen = {};
  let calls = 0;
  const call = async (name, args, options) => {
    calls += 1;
    let what;
    try {
      const answer = await client.callTool({ name, arguments: args }, undefined, options);
      what = answer.isError ? "isError" : "success";
    } catch (error) {
      what = error.code ?? error.name;
      if (options?.signal?.aborted) what = "aborted";
    }
    const key = `${name} ${what}`;
    seen[key] = (seen[key] ?? 0) + 1;
  };
  const several = (count, each) => Promise.all(Array.from({ length: count }, each));

  await several(8, () => call("read", { path: "a.txt" }));
  await several(4, () => call("list", { path: "." }));
  await several(4, () => call("search", { path: "a.txt", text: "two" }));
  await several(4, () => call("hash", { path: "a.txt" }));
  await several(5, () => call("fail", {}));
  await several(3, () => call("read", { path: "none.txt" }));
  await several(2, () => call("panic", {}));
  await several(6, () => call("read", {}));
  await several(4, () => call("slow", { ms: "long" }));
  await several(5, () => call("no_such_tool", {}));
  // These calls are aborted when the server has them, which its snapshot shows.
  const abort = new AbortController();
  const aborted = several(6, () => call("slow", { ms: 60_000 }, { signal: abort.signal }));
  await until("six in flight", () => counts(read(snapshot), "slow").in_flight === 6);
  abort.abort();
  await aborted;
  await several(4, () => call("slow", { ms: 60_000 }, { timeout: 100 }));
  await until("ten cancelled", () => counts(read(snapshot), "slow").cancelled === 10);
  // The server is killed with calls in flight, so its counts are those of its last snapshot.
  const killed = several(5, () => call("slow", { ms: 60_000 }));
  await until("five in flight", () => counts(read(snapshot), "slow").in_flight === 5);
  const server = isProxied ? childOf(transport.pid) : transport.pid;
  process.kill(server, "SIGKILL");
  await killed;
  assert.equal(calls, 60);
  assert.deepEqual(seen, {
    "read success": 8,
    "list success": 4,
    "search success": 4,
    "hash success": 4,
    "fail isError": 5,
    "read isError": 3,
    "panic -32603": 2,
    "read -32602": 6,
    "slow -32602": 4,
    "no_such_tool -32602": 5,
    "slow aborted": 6,
    "slow -32001": 4,
    "slow -32000": 5,
  });

  const check = (file, { panics, lost }) => {
    const told = read(file);
    const tool = (success, failures = {}, cancelled = 0, in_flight = 0) => ({
      success,
      failures,
      cancelled,
      in_flight,
    });
    const expected = {
      read: tool(seen["read success"], {
        invalid_args: seen["read -32602"],
        tool_error: seen["read isError"],
      }),
      list: tool(seen["list success"]),
      search: tool(seen["search success"]),
      hash: tool(seen["hash success"]),
      fail: tool(0, { tool_error: seen["fail isError"] }),
      panic: tool(0, { [panics]: seen["panic -32603"] }),
      slow: tool(
        0,
        { invalid_args: seen["slow -32602"], ...(lost && { network: seen["slow -32000"] }) },
        // The server sees a timeout of its client as a cancellation.
        seen["slow aborted"] + seen["slow -32001"],
        lost ? 0 : seen["slow -32000"],
      ),
    };
    const found = Object.keys(expected).map((name) => [name, counts(told, name)]);
    assert.deepEqual(Object.fromEntries(found), expected, file);
    assert.equal(told.unknown_tool_calls, seen["no_such_tool -32602"]);
  };
  check(snapshot, { panics: "panic", lost: false });
  if (isProxied) {
    await until("the proxy's end", () => counts(read(outside), "slow").in_flight === 0);
    check(outside, { panics: "provider", lost: true });
  }
  await client.close();
}

function childOf(pid) {
  const [child] = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ");
  return Number(child);
}

await session(false);
await session(true);
console.log("sdk: 60 calls, directly and through the proxy: the counts are the client's own");
