// Parses contracts/asyncapi.yaml with the official parser; run by `make asyncapi`, which installs it.
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';

const [modules, file] = process.argv.slice(2);
const { Parser, fromFile } = createRequire(path.resolve(modules) + '/')('@asyncapi/parser');
const parser = new Parser();
const { document, diagnostics } = await fromFile(parser, file).parse();
const errors = diagnostics.filter((d) => d.severity <= 1); // errors and warnings
for (const d of errors) {
  console.error(`${file}:${d.range.start.line + 1}: ${d.path.join('.')}: ${d.message} (${d.code})`);
}
if (!document || errors.length) process.exit(1);
console.log(`${file}: ${document.channels().length} channels, ${document.messages().length} messages, no complaint`);
