// Reads AsyncAPI documents from stdin (a JSON array of texts), and prints what is wrong with each, as JSON.
import { readFileSync } from "node:fs";
import { DiagnosticSeverity, Parser } from "@asyncapi/parser";

const parser = new Parser();
const told = [];
for (const text of JSON.parse(readFileSync(0, "utf8"))) {
  const { document, diagnostics } = await parser.parse(text);
  const wrong = diagnostics
    .filter((it) => it.severity <= DiagnosticSeverity.Warning)
    .map((it) => `${it.path.join(".")}: ${it.message}`);
  told.push({ wrong, channels: document?.channels().all().map((it) => it.id()) ?? [] });
}
console.log(JSON.stringify(told));
