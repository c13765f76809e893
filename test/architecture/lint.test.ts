import * as parser from "@typescript-eslint/parser";
import { ESLint, Linter } from "eslint";
import { describe, expect, it } from "vitest";
import { ROOT } from "../support/code-blocks.js";

const eslint = new ESLint({ cwd: ROOT });
const linter = new Linter({ cwd: ROOT });

/**
 * What the lint says about imports and globals when a file holds this line. The rules are those that ESLint uses for the real
 * file; the others are left out, because they need the types of the whole source.
 */
async function complaints(file: string, line: string): Promise<string[]> {
  const { rules } = (await eslint.calculateConfigForFile(`${ROOT}${file}`)) as { rules: Linter.RulesRecord };
  const restricted = Object.fromEntries(Object.entries(rules).filter(([name]) => name.startsWith("no-restricted-")));
  const config = { files: ["**/*.ts"], languageOptions: { parser }, rules: restricted };
  const messages = linter.verify(`${line}\n`, [config], { filename: file });
  expect(messages.filter(({ fatal, severity }) => fatal === true || severity !== 2)).toEqual([]);
  return messages.map(({ message }) => message);
}

describe("dependencies point down", () => {
  it.each<readonly [name: string, file: string, line: string, message: string]>([
    [
      "a decision is pure: no Express",
      "src/csrf/decide.ts",
      'import express from "express"; void express;',
      "no Express in decide.ts",
    ],
    [
      "not even its types",
      "src/csrf/decide.ts",
      'import type { Request } from "express"; export type R = Request;',
      "no Express in decide.ts",
    ],
    [
      "nor a middleware of ours",
      "src/cors/decide.ts",
      'import { corsPolicy } from "./middleware.js"; void corsPolicy;',
      "no Express in decide.ts",
    ],
    [
      "nor files",
      "src/jwt/decide.ts",
      'import { readFileSync } from "node:fs"; void readFileSync;',
      "no I/O in decide.ts",
    ],
    [
      "nor the network",
      "src/jwt/refresh/decide-refresh.ts",
      'import { connect } from "node:net"; void connect;',
      "no I/O in decide.ts",
    ],
    ["nor the clock", "src/rate-limit/decide.ts", "export const now = Date.now();", "no clock in decide.ts"],
    ["nor chance", "src/session/decide.ts", "export const id = Math.random();", "no chance in decide.ts"],
    [
      "core imports no layer",
      "src/core/principal.ts",
      'import { csrfSchema } from "../csrf/settings.js"; void csrfSchema;',
      "core imports no layer",
    ],
    [
      "core imports no store",
      "src/core/principal.ts",
      'import type { TokenStore } from "../stores/contracts.js"; export type T = TokenStore;',
      "core imports no layer",
    ],
    [
      "not from a folder deeper either",
      "src/core/response/send.ts",
      'import { csrfSchema } from "../../csrf/settings.js"; void csrfSchema;',
      "core imports no layer",
    ],
    [
      "core does not know the whole",
      "src/core/principal.ts",
      'import { LAYERS } from "../layers.js"; void LAYERS;',
      "core imports no layer",
    ],
    [
      "core stands below the settings",
      "src/core/principal.ts",
      'import { addIssue } from "../settings/object.js"; void addIssue;',
      "core stands below the settings",
    ],
    [
      "the toolkit of the settings knows no layer",
      "src/settings/object.ts",
      'import { csrfSchema } from "../csrf/settings.js"; void csrfSchema;',
      "knows no layer and no store",
    ],
    [
      "nor a store",
      "src/settings/common.ts",
      'import type { TokenStore } from "../stores/contracts.js"; export type T = TokenStore;',
      "knows no layer and no store",
    ],
    [
      "nor the settings of the whole",
      "src/settings/object.ts",
      'import { SHAPE } from "../app-settings/schema.js"; void SHAPE;',
      "knows no layer and no store",
    ],
    [
      "a layer knows nothing of the whole",
      "src/csrf/middleware.ts",
      'import { parseSettings } from "../app-settings/parse.js"; void parseSettings;',
      "Dependencies point down",
    ],
    [
      "nor does a decision",
      "src/csrf/decide.ts",
      'import { LAYERS } from "../layers.js"; void LAYERS;',
      "Dependencies point down",
    ],
    [
      "a decision of a layer imports no other layer",
      "src/csrf/decide.ts",
      'import { decideCors } from "../cors/decide.js"; void decideCors;',
      "imports no other layer",
    ],
    [
      "nor does a decision in a room",
      "src/jwt/refresh/decide-refresh.ts",
      'import { decideCors } from "../../cors/decide.js"; void decideCors;',
      "imports no other layer",
    ],
    [
      "stores know nothing of the whole",
      "src/stores/open.ts",
      'import { parseSettings } from "../app-settings/parse.js"; void parseSettings;',
      "not the layers",
    ],
    [
      "stores know the contracts, not the layers",
      "src/stores/open.ts",
      'import { ApiKeyService } from "../api-key/service.js"; void ApiKeyService;',
      "not the layers",
    ],
    ...["headers", "trusted-host", "cors", "rate-limit", "csrf", "session", "api-key", "jwt"].map((layer) => {
      const other = layer === "csrf" ? "cors" : "csrf";
      return [
        `${layer} imports no other layer`,
        `src/${layer}/settings.ts`,
        `import { ${other}Schema } from "../${other}/settings.js"; void ${other}Schema;`,
        "imports no other layer",
      ] as const;
    }),
    [
      "nobody changes a prototype",
      "src/csrf/middleware.ts",
      "String.prototype.trim = () => '';",
      "Nobody changes a prototype",
    ],
    [
      "nor does core/response",
      "src/core/response/send.ts",
      "String.prototype.trim = () => '';",
      "Nobody changes a prototype",
    ],
    [
      "nobody reads what Node does not document",
      "src/session/middleware.ts",
      "export const sent = (res: { _header: unknown }) => res._header;",
      "by documented members",
    ],
    [
      "nor does core/response",
      "src/core/response/send.ts",
      "export const sent = (res: { _header: unknown }) => res._header;",
      "Documented members",
    ],
    [
      "only core/response puts methods on a response",
      "src/session/middleware.ts",
      "export const patch = (res: { end: unknown }) => void (res.end = 1);",
      "puts methods on a response",
    ],
    [
      "nor does a room of a layer",
      "src/jwt/keys/key-ring.ts",
      'import { csrfSchema } from "../../csrf/settings.js"; void csrfSchema;',
      "imports no other layer",
    ],
    [
      "nor do stores a folder deeper",
      "src/stores/memory/token-store.ts",
      'import { jwtSchema } from "../../jwt/settings.js"; void jwtSchema;',
      "not the layers",
    ],
  ])("%s", async (_name, file, line, message) => {
    expect(await complaints(file, line)).toEqual([expect.stringContaining(message)]);
  });

  it.each([
    [
      "a middleware imports Express",
      "src/csrf/middleware.ts",
      'import type { Request } from "express"; export type R = Request;',
    ],
    [
      "a decision imports core",
      "src/csrf/decide.ts",
      'import { parseOriginPattern } from "../core/http/origin.js"; void parseOriginPattern;',
    ],
    [
      "core/response puts methods on a response",
      "src/core/response/send.ts",
      "export const patch = (res: { end: unknown }) => void (res.end = 1);",
    ],
    ["core imports core", "src/core/principal.ts", 'import { Secret } from "./secret.js"; void Secret;'],
    [
      "the toolkit of the settings imports core",
      "src/settings/secrets.ts",
      'import { Secret } from "../core/secret.js"; void Secret;',
    ],
    [
      "a room of a layer imports the layer",
      "src/jwt/keys/key-ring.ts",
      'import { jwtSchema } from "../settings.js"; void jwtSchema;',
    ],
    [
      "a layer imports core and the contracts",
      "src/jwt/manager.ts",
      'import type { TokenStore } from "../stores/contracts.js"; export type T = TokenStore;',
    ],
    [
      "a store imports the contracts",
      "src/stores/memory/token-store.ts",
      'import type { TokenStore } from "../contracts.js"; export type T = TokenStore;',
    ],
  ])("while %s", async (_name, file, line) => {
    expect(await complaints(file, line)).toEqual([]);
  });
});
