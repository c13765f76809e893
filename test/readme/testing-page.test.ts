import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openHandles } from "../packaging/support/open-handles.js";
import { Project } from "../packaging/support/project.js";
import { codeBlocks } from "../support/code-blocks.js";

const PAGE = "src/testing/README.md";
const blocks = codeBlocks(PAGE);

function blockWith(info: string, ...texts: readonly string[]): string {
  const found = blocks.filter((block) => block.info === info && texts.every((text) => block.code.includes(text)));
  if (found.length !== 1) throw new Error(`${PAGE} has ${found.length} ${info} blocks with ${texts.join(", ")}.`);
  return found[0]?.code ?? "";
}

const app = blockWith("js", "export function createApp");
const withVitest = blockWith("js", 'from "vitest"', "supertest");
/** What the page says of the other two. */
const commonJsApp = app
  .replace('import express from "express"', 'const express = require("express")')
  .replace('import { applySecurity } from "portcullis"', 'const { applySecurity } = require("portcullis")')
  .replace("export function", "function")
  .concat("module.exports = { createApp };\n");
const withJestModules = withVitest.replace(/^import .* from "vitest";\n/m, "");

const RUNS = [
  {
    name: "Vitest",
    files: { "vitest/app.js": app, "vitest/app.test.js": withVitest },
    command: ["vitest", "run", "--root", "vitest"],
    says: /Tests +3 passed/,
  },
  {
    name: "Jest with ES modules",
    files: { "jest/app.js": app, "jest/app.test.js": withJestModules },
    command: ["node", "--experimental-vm-modules", "node_modules/jest/bin/jest.js", "jest/", "--detectOpenHandles"],
    says: /Tests: +3 passed/,
  },
  {
    name: "Jest in CommonJS",
    files: {
      "commonjs/package.json": '{ "type": "commonjs" }',
      "commonjs/app.js": commonJsApp,
      "commonjs/app.test.js": blockWith("js", 'require("supertest")'),
    },
    command: ["jest", "commonjs/", "--detectOpenHandles"],
    says: /Tests: +2 passed/,
  },
  {
    name: "node:test with supertest",
    files: { "node/app.js": app, "node/app.test.js": blockWith("js", 'from "node:test"', "supertest") },
    command: ["node", "--test", "node/app.test.js"],
    says: /pass 1\b/,
  },
  {
    name: "node:test",
    files: { "fetch/app.test.ts": blockWith("ts", 'from "node:test"') },
    command: ["tsx", "--test", "fetch/app.test.ts"],
    says: /pass 3\b/,
  },
];

describe("the samples of the page about testing an app", () => {
  const project = new Project("module");
  beforeAll(() => project.install("express@5", "jest@30", "vitest@4", "supertest@7", "tsx@4"), 600_000);
  afterAll(() => project.remove());

  it.each(RUNS)("pass in $name, which ends by itself", { timeout: 300_000 }, async ({ files, command, says }) => {
    for (const [path, code] of Object.entries(files)) project.write(path, code);
    const [program = "", ...args] = command;
    const { status, output } = await project.run(program, args);
    const text = output.replace(/\x1b\[[0-9;]*m/g, "");
    expect(text).toMatch(says);
    expect(text).not.toMatch(/did not exit/i);
    expect(openHandles(text)).toEqual([]);
    expect(status).toBe(0);
  });
});
