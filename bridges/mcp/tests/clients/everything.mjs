// Compares the messages of the reference server behind the proxy and without it, as sets by id.
import assert from "node:assert/strict";
import { join } from "node:path";
import { Lines, all, everything, folder, proxied, read, until } from "./lib.mjs";

async function session(command) {
  const client = new Lines(command);
  await client.begin();
  const call = (id, name, args = {}) =>
    client.ask(id, "tools/call", { name, arguments: args, _meta: { progressToken: id } });
  await client.ask(1, "tools/list");
  await client.ask("two", "prompts/list");
  await Promise.all([
    call(3, "echo", { message: "\u00e9\u{1f980}\n\"" }),
    call("3", "get-sum", { a: 2, b: 3 }),
    call(4, "get-tiny-image"),
    call(5, "get-structured-content", { location: "Chicago" }),
    call(6, "get-annotated-message", { messageType: "error", includeImage: true }),
    call(7, "get-resource-links", { count: 2 }),
    call(8, "get-sum", { a: "x" }),
    call(9, "no-such-tool"),
    call("long", "trigger-long-running-operation", { duration: 0.4, steps: 4 }),
  ]);
  // It is cancelled after its first progress, so it is never answered.
  const never = assert.rejects(
    call("cancelled", "trigger-long-running-operation", { duration: 2, steps: 20 }),
    /ended before it answered/,
  );
  const progress = (token) => (line) =>
    line.includes("notifications/progress") && JSON.parse(line).params.progressToken === token;
  await until("progress", () => client.heard.some(progress("cancelled")));
  client.say({ method: "notifications/cancelled", params: { requestId: "cancelled" } });
  await client.ask("last", "ping");
  const heard = client.heard.slice();
  // One line of 4 MB in both directions.
  const long = "x".repeat(4 << 20);
  const echoed = await call("big", "echo", { message: long });
  assert.equal(echoed.result.content[0].text, `Echo: ${long}`);
  await client.end();
  await never;
  // The progress of the cancelled call depends on the time, so it is not compared.
  const sets = {};
  for (const line of heard.filter((line) => !progress("cancelled")(line))) {
    const message = JSON.parse(line);
    const id = JSON.stringify(message.id ?? message.params?.progressToken ?? message.method);
    (sets[id] ??= []).push(line);
  }
  for (const set of Object.values(sets)) set.sort();
  return sets;
}

const file = join(folder, "everything.json");
const alone = await session(everything);
const behind = await session(proxied(file, everything));
assert.deepEqual(behind, alone);
assert.equal(alone['"long"'].length, 5);
const expected = (success, failures = {}, cancelled = 0) => ({
  success,
  failures,
  cancelled,
  in_flight: 0,
});
const told = all(read(file));
assert.deepEqual(told, {
  echo: expected(2),
  "get-annotated-message": expected(1),
  "get-resource-links": expected(1),
  "get-structured-content": expected(1),
  "get-sum": expected(1, { invalid_args: 1 }),
  "get-tiny-image": expected(1),
  "trigger-long-running-operation": expected(1, {}, 1),
});
assert.equal(read(file).unknown_tool_calls, 1);
console.log(`everything: ${Object.keys(alone).length} sets of messages, equal behind the proxy`);
