import { execFileSync } from "node:child_process";
import { describe, expect, it } from "vitest";
import { ROOT } from "../../support/code-blocks.js";

/** Asks for garbage collection, which a test worker cannot: so in a process of its own. */
const PROGRAM = `
import express from "express";
import { applySecurity } from "./src/index.ts";
import { once } from "node:events";
const app = express();
const security = applySecurity(app, { debug: true, rateLimit: { limit: 2, windowSeconds: 60 }, session: {}, secretKey: "q7dS1uY0pXk3Vw8ZrT5nB2mC9eFgHjLa" });
const seen = [];
app.use((req, res) => { seen.push(new WeakRef(req)); res.send("ok"); });
const handle = app.handle.bind(app);
const server = (await import("node:http")).createServer((req, res) => { if (seen.length === 2) refused.push(new WeakRef(req)); handle(req, res); });
const refused = [];
await once(server.listen(0, "127.0.0.1"), "listening");
const statuses = [];
for (let i = 0; i < 3; i += 1) statuses.push((await fetch("http://127.0.0.1:" + server.address().port, { headers: { connection: "close" } })).status);
await new Promise((resolve) => server.close(resolve));
for (let i = 0; i < 6; i += 1) { await new Promise(setImmediate); globalThis.gc(); }
console.log(JSON.stringify({ statuses, served: seen.map((ref) => ref.deref() !== undefined), refused: refused.map((ref) => ref.deref() !== undefined) }));
await security.close();
`;

describe("a request", () => {
  it("is not kept alive once it has been served or refused", () => {
    const out = execFileSync(
      process.execPath,
      ["--expose-gc", "--import", "tsx", "--input-type=module", "-e", PROGRAM],
      { cwd: ROOT, encoding: "utf8" },
    );
    expect(JSON.parse(out)).toEqual({ statuses: [200, 200, 429], served: [false, false], refused: [false] });
  });
});
