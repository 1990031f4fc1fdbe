// Runs the program under Node, with WASI if the program imports it, and exits with its status.

import { readFile } from "node:fs/promises";
import { argv, exit, hrtime } from "node:process";
import { WASI } from "node:wasi";

const module = await WebAssembly.compile(await readFile(argv[2]));
const needsWasi = WebAssembly.Module.imports(module).some(({ module }) => module === "wasi_snapshot_preview1");
let status;
if (needsWasi) {
    const wasi = new WASI({ version: "preview1", returnOnExit: true });
    status = wasi.start(await WebAssembly.instantiate(module, { wasi_snapshot_preview1: wasi.wasiImport }));
} else {
    const host = { now_ns: () => hrtime.bigint() };
    const { exports } = await WebAssembly.instantiate(module, { host });
    status = exports.main(0, 0);
}
console.log(status === 0 ? "all checks passed" : `check ${status} failed`);
exit(status);
