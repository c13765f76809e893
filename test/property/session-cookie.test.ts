import express from "express";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { standalone } from "../../src/core/pipeline.js";
import { asHandler, bench, type Bench, cookieOf, withCookie } from "../session/support.js";
import { serve, type TestServer } from "../support/serve.js";
import { runs } from "./seed.js";
import { singleChanges } from "./single-changes.js";

vi.setConfig({ testTimeout: runs(60_000) });

const scope = fc.stringMatching(/^[A-Za-z0-9._-]{1,8}(:[a-z]{1,8}){0,2}(:\*)?$/);
const who = fc.record({
  id: fc
    .string({ minLength: 1, maxLength: 40, unit: "grapheme" })
    .filter((id) => id.length <= 256 && !/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/.test(id)),
  scopes: fc.uniqueArray(scope, { maxLength: 4 }),
  roles: fc.uniqueArray(fc.stringMatching(/^[A-Za-z0-9._:-]{1,16}$/), { maxLength: 3 }),
});
/** Anything JSON can carry; `__proto__` is left out by JSON.parse's own reading of it. */
const data = fc.jsonValue({ maxDepth: 3 }).filter((value) => !JSON.stringify(value).includes("__proto__"));

describe("a session", () => {
  let made: Bench;
  let server: TestServer;
  beforeAll(async () => {
    made = bench();
    const app = express();
    app.use(standalone([made.layer], made.runtime), express.json({ strict: false }));
    app.post(
      "/in",
      asHandler(async (req, res) => {
        const { principal, kept } = req.body as { principal: { id: string }; kept: unknown };
        await made.layer.logIn(req, principal);
        Object.assign(req.session, { kept });
        res.send("in");
      }),
    );
    app.get(
      "/",
      (req, res) =>
        void res.json({
          principal: req.principal ?? null,
          kept: (req.session as unknown as { kept?: unknown }).kept ?? null,
        }),
    );
    server = await serve(app);
  });
  afterAll(async () => {
    await server.close();
    await made.layer.close?.();
  });

  const logIn = async (principal: object, kept: unknown = null): Promise<string> =>
    cookieOf(
      await server.send("/in", {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ principal, kept }),
      }),
    );
  const read = async (cookie: string) =>
    (await server.send("/", withCookie(cookie))).json() as { principal: Record<string, unknown> | null; kept: unknown };

  it("returns its principal and data for its cookie and for no other", async () => {
    await fc.assert(
      fc.asyncProperty(who, data, who, data, async (one, kept, other, keptThere) => {
        const [mine, theirs] = [await logIn(one, kept), await logIn(other, keptThere)];
        const [here, there] = [await read(mine), await read(theirs)];
        expect(here).toEqual({
          principal: expect.objectContaining({ ...one, kind: "session" }),
          kept: JSON.parse(JSON.stringify(kept)),
        });
        expect(there).toEqual({
          principal: expect.objectContaining({ ...other, kind: "session" }),
          kept: JSON.parse(JSON.stringify(keptThere)),
        });
        expect(here.principal?.["credentialId"]).not.toBe(there.principal?.["credentialId"]);
      }),
      { numRuns: runs(100) },
    );
  });

  it("is not found for a cookie with any single change in its name, its id or its signature", async () => {
    await fc.assert(
      fc.asyncProperty(who, fc.constantFrom(...'Ab0-_.%+/="~'), async (one, char) => {
        const mine = await logIn(one);
        for (const change of singleChanges(mine, char)) {
          expect({ ...change, principal: (await read(change.text)).principal }).toEqual({ ...change, principal: null });
        }
        expect((await read(mine)).principal).toMatchObject({ id: one.id });
      }),
      { numRuns: runs(2) },
    );
  });
});
