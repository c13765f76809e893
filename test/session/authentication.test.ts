import { afterEach, describe, expect, it } from "vitest";
import { InvalidInputError } from "../../src/core/portcullis-error.js";
import type { LogInAs } from "../../src/session/log-in.js";
import { logInAuthentication } from "../../src/session/log-in-options.js";
import { principalOf, readMetadata } from "../../src/session/metadata.js";
import { SESSION_METADATA } from "../../src/stores/contracts.js";
import { EXPRESS } from "../support/express-versions.js";
import { ManualClock } from "../support/manual-clock.js";
import { serve, type TestServer } from "../support/serve.js";
import { asHandler, bench, cookieOf, routes, withCookie, type Bench } from "./support.js";

const START = Date.UTC(2026, 0, 1);
const MINUTE = 60_000;
const pwd = { method: "pwd", at: START - 9 * MINUTE } as const;

describe.each(EXPRESS)("how the user of a session was authenticated, on $name", ({ express }) => {
  const open: { close(): unknown }[] = [];
  afterEach(async () => {
    for (const one of open.splice(0)) await one.close();
  });

  async function start(made: Bench, whoOf: (query: URLSearchParams) => LogInAs): Promise<TestServer> {
    const app = routes(express(), made);
    app.get(
      "/as",
      asHandler(async (req, res) => {
        await made.layer
          .logIn(req, whoOf(new URL(req.url, "http://localhost").searchParams))
          .catch((error: unknown) => {
            if (!(error instanceof InvalidInputError)) throw error;
            res.status(400);
          });
        res.json(req.principal ?? null);
      }),
    );
    const server = await serve(app);
    open.push(server, { close: () => made.layer.close?.() });
    return server;
  }

  it.each<{ name: string; methods?: LogInAs["methods"]; authenticatedAt: number; seen: unknown[] }>([
    { name: "nothing said: the time of the log-in, no method", authenticatedAt: START, seen: [] },
    { name: "a password now", methods: ["pwd"], authenticatedAt: START, seen: [{ method: "pwd", at: START }] },
    {
      name: "a password then and a code now",
      methods: [pwd, "totp"],
      authenticatedAt: START,
      seen: [pwd, { method: "totp", at: START }],
    },
    { name: "a password then", methods: [pwd], authenticatedAt: pwd.at, seen: [pwd] },
  ])("$name; later requests see the same", async ({ methods, authenticatedAt, seen }) => {
    const clock = new ManualClock(START);
    const server = await start(bench({}, { clock }), () => ({ id: "ada", ...(methods && { methods }) }));
    const answer = await server.send("/as");
    const expected = { id: "ada", claims: {}, authenticatedAt, methods: seen };
    expect(answer.json()).toMatchObject(expected);
    clock.advance(5 * MINUTE);
    const later = await server.send("/plain", withCookie(cookieOf(answer)));
    expect((later.json() as { principal: unknown }).principal).toMatchObject(expected);
  });

  it("refuses another form, and the session stays as it was", async () => {
    const server = await start(bench(), (query) => JSON.parse(query.get("who") ?? "") as LogInAs);
    const mine = cookieOf(await server.send(`/as?who=${encodeURIComponent('{"id":"ada","methods":["pwd"]}')}`));
    for (const methods of [["sms"], "pwd", [{ method: "pwd", at: "now" }], [null], {}]) {
      const who = encodeURIComponent(JSON.stringify({ id: "eve", methods }));
      const answer = await server.send(`/as?who=${who}`, withCookie(mine));
      expect([answer.status, answer.json()]).toMatchObject([400, { id: "ada", methods: [{ method: "pwd" }] }]);
    }
    expect((await server.send("/who", withCookie(mine))).json()).toMatchObject({ id: "ada" });
  });

  it("beginning and ending to act as another user makes nothing fresh", async () => {
    const clock = new ManualClock(START);
    const server = await start(bench({}, { clock }), (query) => {
      const actor = query.get("actor");
      return {
        id: query.get("id") ?? "",
        ...(actor !== null && { actor: { id: actor } }),
        ...(query.has("methods") && { methods: ["webauthn"] }),
      };
    });
    let answer = await server.send("/as?id=eve&methods=1");
    const proved = { authenticatedAt: START, methods: [{ method: "webauthn", at: START }] };
    for (const path of ["/as?id=ada&actor=eve", "/as?id=bob&actor=eve", "/as?id=eve"]) {
      clock.advance(MINUTE);
      answer = await server.send(path, withCookie(cookieOf(answer)));
      expect(answer.json()).toMatchObject(proved);
      const seen = await server.send("/plain", withCookie(cookieOf(answer)));
      expect((seen.json() as { principal: unknown }).principal).toMatchObject(proved);
    }
    clock.advance(MINUTE);
    answer = await server.send("/as?id=eve", withCookie(cookieOf(answer)));
    expect(answer.json()).toMatchObject({ authenticatedAt: START + 4 * MINUTE, methods: [] });
  });
});

describe("logInAuthentication", () => {
  const before = {
    createdAt: START,
    seenAt: START,
    principal: { id: "eve", scopes: [], roles: [], methods: [pwd], authenticatedAt: pwd.at },
  };
  const kept = { authenticatedAt: pwd.at, methods: [pwd] };
  const begun = { authenticatedAt: START + 1, methods: [] };

  it.each([
    { name: "the same user again", who: { id: "eve" }, is: begun },
    { name: "the same user with an actor", who: { id: "eve", actor: { id: "ada" } }, is: begun },
    { name: "the same user, by the same person", who: { id: "eve", actor: { id: "eve" } }, is: begun },
    { name: "another user", who: { id: "ada" }, is: begun },
    { name: "another user, by the same person", who: { id: "ada", actor: { id: "eve" } }, is: kept },
    { name: "another user, by a third person", who: { id: "ada", actor: { id: "bob" } }, is: begun },
  ])("$name", ({ who, is }) => {
    expect(logInAuthentication(undefined, who, before, START + 1)).toEqual(is);
  });

  it("without a session before, or with methods, the log-in counts", () => {
    const who = { id: "ada", actor: { id: "eve" } };
    expect(logInAuthentication(undefined, who, undefined, START + 1)).toEqual(begun);
    expect(logInAuthentication([], who, before, START + 1)).toEqual(begun);
    expect(logInAuthentication(undefined, who, { ...before, principal: null }, START + 1)).toEqual(begun);
  });
});

describe("a stored record", () => {
  const principal = { id: "ada", scopes: [], roles: [] };
  const read = (more: object) =>
    readMetadata({ [SESSION_METADATA]: { createdAt: 5, seenAt: 9, principal: { ...principal, ...more } } });

  it("of a version without these values gives the time of the log-in and no method", () => {
    const metadata = read({});
    if (metadata === undefined) throw new Error("unreadable");
    expect(principalOf("handle", metadata)).toMatchObject({ authenticatedAt: 5, methods: [] });
  });

  it("of a later version loses the methods that this one does not know", () => {
    expect(read({ methods: [pwd, { method: "sms", at: 1 }] })?.principal).toEqual({ ...principal, methods: [pwd] });
    expect(read({ methods: [{ method: "sms", at: 1 }] })?.principal).toEqual(principal);
  });

  it.each([
    { methods: null },
    { methods: "pwd" },
    { methods: [null] },
    { methods: [{ method: {}, at: 1 }] },
    { methods: [{ method: "pwd", at: 1e400 }] },
    { authenticatedAt: null },
    { authenticatedAt: "5" },
  ])("that is damaged is no session: %j", (more) => {
    expect(read({ authenticatedAt: 5, methods: [pwd] })).toBeDefined();
    expect(read(more)).toBeUndefined();
  });
});
