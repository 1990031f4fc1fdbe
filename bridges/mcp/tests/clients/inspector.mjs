// Compares the answers to the inspector's command line, through the proxy and without it.
//
// The package asks for Node 22.19. Its command line also runs on Node 20, and npm only prints a
// warning. It depends on vite, whose version 8.4.0 names an optional package that npm cannot lock, so
// package.json holds vite at the version before.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { all, bin, everything, folder, proxied, read, run } from "./lib.mjs";

const file = join(folder, "inspector.json");
const launcher = bin("@modelcontextprotocol/inspector/clients/launcher/build/index.js");
const cli = [process.execPath, launcher, "--cli"];
// Its catalog of servers is in the home folder.
const env = { ...process.env, HOME: folder };
const asked = [
  [["--method", "tools/list"], {}],
  [
    ["--method", "tools/call", "--tool-name", "get-sum", "--tool-arg", "a=2", "--tool-arg", "b=3"],
    { "get-sum": { success: 1, failures: {}, cancelled: 0, in_flight: 0 } },
  ],
];

// It takes words that look like options as its own, so the commands are programs of one word.
const program = (name, command) => {
  const path = join(folder, name);
  writeFileSync(path, `#!/bin/sh\nexec ${command.map((word) => `'${word}'`).join(" ")}\n`, { mode: 0o755 });
  return path;
};
const programs = { alone: program("alone", everything), behind: program("behind", proxied(file, everything)) };
for (const [words, counted] of asked) {
  const answers = {};
  for (const [name, path] of Object.entries(programs)) {
    const done = await run([...cli, path, ...words], { env });
    assert.equal(done.status, 0, done.stderr);
    answers[name] = JSON.parse(done.stdout);
  }
  assert.deepEqual(answers.behind, answers.alone);
  assert.ok(answers.alone.tools?.length > 5 || answers.alone.content?.length === 1);
  assert.deepEqual(all(read(file)), counted);
}
console.log("inspector: list and call, the same answers through the proxy");
