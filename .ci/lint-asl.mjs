// Prepares the state machine for the linters: node lint-asl.mjs DEFINITION MODULES > EXAMPLE
//
// Prints the definition with example ARNs for its substitutions, and fails at a JSONata expression
// that does not parse: asl-validator reads those of some fields only.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { resolve } from "node:path";

const [definition, modules] = process.argv.slice(2);
const jsonata = createRequire(resolve(modules, "package.json"))("jsonata");

const example = readFileSync(definition, "utf8")
  .replaceAll(/\$\{(\w+)FunctionArn\}/g, "arn:aws:lambda:us-east-1:123456789012:function:$1")
  .replaceAll("${PublishIntegrationArn}", "arn:aws:states:::sns:publish")
  .replaceAll("${NotificationTopicArn}", "arn:aws:sns:us-east-1:123456789012:cutover");

let faults = 0;
const check = (value, path) => {
  if (typeof value === "string") {
    const expression = /^\{%(.*)%\}$/s.exec(value)?.[1];
    if (expression === undefined) return;
    try {
      jsonata(expression);
    } catch (error) {
      faults += 1;
      console.error(`${path}: ${error.message}`);
    }
  } else if (value !== null && typeof value === "object") {
    for (const [key, inner] of Object.entries(value)) check(inner, `${path}.${key}`);
  }
};
check(JSON.parse(example), definition);
process.stdout.write(example);
process.exitCode = faults === 0 ? 0 : 1;
