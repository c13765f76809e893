import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, expect, test } from "vitest";
import { NODE_HAS_SQLITE } from "../../contract/drivers.js";
import { runChild } from "../children.js";

const root = fileURLToPath(new URL("../../../", import.meta.url));
const folders: string[] = [];
afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true });
});

// A copy of the source in a folder whose node_modules has only what the test names, as in an app that did not install
// the optional peers. The first line shows that loading `open-database.ts` needs none of them.
const script = (url: string) => `
import { openDatabase } from "./src/stores/database/open-database.js";
import { createRuntime } from "./src/core/runtime.js";
const opened = openDatabase("${url}", createRuntime());
console.log("loaded", JSON.stringify(opened.describe()));
const reason = async (work) => work.then(() => "no error", (error) => error.name + ": " + error.message);
console.log(await reason(opened.ready()));
console.log(await reason(opened.apiKeys.get("x")));
console.log(await reason((async () => opened.tokens.isRevoked({ jti: "j", subject: "s", issuedAt: 0 }))()));
console.log(await reason(opened.close()));
`;

async function runWith(packages: readonly string[], url = "sqlite::memory:") {
  const folder = mkdtempSync(join(tmpdir(), "portcullis-missing-"));
  folders.push(folder);
  mkdirSync(join(folder, "node_modules"));
  // What core and settings need; none of the optional peers.
  for (const name of [...packages, "zod", "express-rate-limit", "ip-address", "ipaddr.js", "express"]) {
    symlinkSync(join(root, "node_modules", name), join(folder, "node_modules", name));
  }
  cpSync(join(root, "src"), join(folder, "src"), { recursive: true });
  writeFileSync(join(folder, "package.json"), '{"type":"module"}');
  writeFileSync(join(folder, "main.ts"), script(url));
  // Where Node has SQLite of its own, it is switched off to be like a Node without.
  const nodeFlags = NODE_HAS_SQLITE ? ["--no-experimental-sqlite"] : [];
  const { code, out, err } = await runChild(join(folder, "main.ts"), [], { cwd: folder, nodeFlags }).ended;
  return { code, err, lines: out.trim().split("\n") };
}

const LOADED = 'loaded {"engine":"sqlite","location":":memory:"}';

test("without kysely the library loads, and a use of the database names the line that installs it", async () => {
  const reason =
    "SetupError: A database needs the package kysely, which is not installed. Install it with: npm install kysely";
  expect(await runWith([])).toEqual({ code: 0, err: "", lines: [LOADED, reason, reason, reason, "no error"] });
});

test("without any SQLite driver the reason names the line that installs one", async () => {
  const reason =
    "SetupError: A sqlite: database needs Node's own SQLite (22.13 and later), libsql or better-sqlite3, but none could be loaded. " +
    "Install one with: npm install libsql";
  expect(await runWith(["kysely"])).toEqual({ code: 0, err: "", lines: [LOADED, reason, reason, reason, "no error"] });
});

test.each([
  ["postgres", "pg"],
  ["mysql", "mysql2"],
])("without the driver of a %s: database the reason names the line that installs it", async (scheme, name) => {
  const loaded = `loaded {"engine":"${scheme}","location":"127.0.0.1:1/app"}`;
  const reason = `SetupError: A ${scheme}: database needs the package ${name}, which is not installed. Install it with: npm install ${name}`;
  expect(await runWith(["kysely"], `${scheme}://app:secret@127.0.0.1:1/app`)).toEqual({
    code: 0,
    err: "",
    lines: [loaded, reason, reason, reason, "no error"],
  });
});
