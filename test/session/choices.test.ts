import fc from "fast-check";
import type { Request } from "express";
import { afterEach, describe, expect, it } from "vitest";
import { applySecurity, InvalidInputError, parseSettings, type Security, sessions, SettingsError } from "portcullis";
import { isBelow, placesOfCookie } from "../../src/session/cookie-places.js";
import { logIn, logOut, type LogInAs, type LogInSettings } from "../../src/session/log-in.js";
import { readMetadata } from "../../src/session/metadata.js";
import { SESSION_METADATA } from "../../src/stores/contracts.js";
import { EXPRESS } from "../support/express-versions.js";
import { ManualClock } from "../support/manual-clock.js";
import { serve, type TestServer } from "../support/serve.js";
import { asHandler, bench, cookieOf, routes, SECRET, setCookies, withCookie, type Bench } from "./support.js";

const DAY = 86_400_000;

function issuesOf(run: () => unknown): string[] {
  try {
    run();
  } catch (error) {
    if (error instanceof SettingsError) return error.issues.map(({ code, path }) => `${code} ${path}`);
    throw error;
  }
  return [];
}

describe.each(EXPRESS)("what a log-in says of its session, on $name", ({ express }) => {
  const open: { close(): unknown }[] = [];
  afterEach(async () => {
    for (const one of open.splice(0)) await one.close();
  });

  /** An app whose `/as` logs in with what the test says. */
  async function start(made: Bench, who: LogInAs = { id: "ada" }, options: LogInSettings = {}): Promise<TestServer> {
    const app = routes(express(), made);
    app.get(
      "/as",
      asHandler(async (req, res) => {
        await made.layer.logIn(req, who, options);
        res.json(req.principal);
      }),
    );
    const server = await serve(app);
    open.push(server, { close: () => made.layer.close?.() });
    return server;
  }

  it("maxAge moves the idle and, when it is longer, the absolute time-out", async () => {
    const clock = new ManualClock();
    const made = bench({ maxAge: 3600 }, { clock });
    const server = await start(made, { id: "ada" }, { maxAge: 30 * 86_400 });
    const remembered = await server.send("/as");
    const usual = await server.send("/in/bob");
    expect(setCookies(remembered)[0]).toContain("; Max-Age=2592000;");
    expect(setCookies(usual)[0]).toContain("; Max-Age=3600;");
    clock.advance(20 * DAY);
    const used = await server.send("/who", withCookie(cookieOf(remembered)));
    expect(used.json()).toMatchObject({ id: "ada" });
    // The use is recorded, but the absolute time-out counts from the log-in.
    expect(setCookies(used)[0]).toContain("; Max-Age=864000;");
    expect((await server.send("/who", withCookie(cookieOf(usual)))).json()).toMatchObject({ id: null });
    clock.advance(10 * DAY);
    expect((await server.send("/who", withCookie(cookieOf(remembered)))).json()).toMatchObject({ id: null });
    expect(made.events.filter(({ event }) => event === "session_expired").map(({ reason }) => reason)).toEqual([
      "absolute",
      "absolute",
    ]);
  });

  it("maxAge may be shorter, and a later log-in without it ends it", async () => {
    const clock = new ManualClock();
    const made = bench({ maxAge: 3600 }, { clock });
    const server = await start(made, { id: "ada" }, { maxAge: 60 });
    const brief = cookieOf(await server.send("/as"));
    const again = cookieOf(await server.send("/in/ada", withCookie(cookieOf(await server.send("/as")))));
    clock.advance(59_000);
    expect((await server.send("/plain", withCookie(brief))).json()).toMatchObject({ principal: { id: "ada" } });
    clock.advance(60_000);
    expect((await server.send("/who", withCookie(brief))).json()).toMatchObject({ id: null });
    expect((await server.send("/who", withCookie(again))).json()).toMatchObject({ id: "ada" });
  });

  it.each([0, -1, 1.5, Number.NaN, "60", 34_560_001, 86_400_000, null])("refuses maxAge %j", async (maxAge) => {
    const made = bench();
    let refused: unknown;
    const app = express();
    routes(app, made);
    app.get(
      "/as",
      asHandler(async (req, res) => {
        refused = await made.layer
          .logIn(req, { id: "ada" }, { maxAge: maxAge as number })
          .catch((error: unknown) => error);
        res.json({ id: req.principal?.id ?? null });
      }),
    );
    const server = await serve(app);
    open.push(server, { close: () => made.layer.close?.() });
    const answer = await server.send("/as");
    expect(refused).toBeInstanceOf(InvalidInputError);
    expect((refused as Error).message).toMatch(
      maxAge === 86_400_000
        ? /in seconds; did you mean 86400\?$/
        : /from 1 to 34560000 \(400 days\)\. It is in seconds\.$/,
    );
    expect(answer.json()).toEqual({ id: null });
    expect(setCookies(answer)).toEqual([]);
  });

  it.each([1, 34_560_000])("accepts maxAge %d", async (maxAge) => {
    const server = await start(bench(), { id: "ada" }, { maxAge });
    expect(setCookies(await server.send("/as"))[0]).toContain(`; Max-Age=${maxAge};`);
  });

  it("a cookie ends with the browser, unless the log-in says how long", async () => {
    const made = bench({ cookieLifetime: "browser" });
    const server = await start(made, { id: "ada" }, { maxAge: 600 });
    const usual = await server.send("/in/ada");
    expect(setCookies(usual)[0]).toMatch(/^__Host-mcp_session=s%3A[^;]+; Path=\/; HttpOnly; Secure; SameSite=Lax$/);
    expect(setCookies(await server.send("/as"))[0]).toContain("; Max-Age=600;");
    const out = await server.send("/out", withCookie(cookieOf(usual)));
    expect(setCookies(out)[0]).toMatch(/^__Host-mcp_session=; Max-Age=0; /);
  });

  it("actor stands in the principal, in events and in the list, until the next log-in", async () => {
    const made = bench();
    const server = await start(made, { id: "ada", actor: { id: 7 }, label: "Support – Firefox" });
    const answer = await server.send("/as");
    expect(answer.json()).toMatchObject({ id: "ada", kind: "session", actor: { id: "7" } });
    const cookie = cookieOf(answer);
    expect((await server.send("/plain", withCookie(cookie))).json()).toMatchObject({
      principal: { id: "ada", actor: { id: "7" } },
    });
    const usual = cookieOf(await server.send("/in/ada"));
    const list = await made.layer.list("ada");
    expect(list.map(({ label, actor }) => ({ label, actor }))).toEqual([
      { label: "Support – Firefox", actor: { id: "7" } },
      {},
    ]);
    expect(Object.keys(list[1] ?? {})).toEqual(["handle", "createdAt", "lastSeenAt", "expiresAt"]);
    // Saved with new data, it stays.
    await server.send("/count", withCookie(cookie));
    expect((await made.layer.list("ada")).map(({ label }) => label)).toContain("Support – Firefox");
    await server.send("/out", withCookie(cookie));
    await server.send("/out", withCookie(usual));
    expect(made.events.map(({ event, subject, actor }) => ({ event, subject, actor }))).toEqual([
      { event: "authn_login_success", subject: "ada", actor: "7" },
      { event: "session_created", subject: "ada", actor: "7" },
      { event: "authn_login_success", subject: "ada", actor: undefined },
      { event: "session_created", subject: "ada", actor: undefined },
      { event: "session_logout", subject: "ada", actor: "7" },
      { event: "session_logout", subject: "ada", actor: undefined },
    ]);
  });

  it("the principal's actor is frozen, and no principal without one has the key", async () => {
    const seen: unknown[] = [];
    const made = bench();
    const app = express();
    app.use((req, _res, next) => {
      seen.push(req.principal);
      next();
    });
    routes(app, made);
    const principals: Request["principal"][] = [];
    app.get(
      "/both",
      asHandler(async (req, res) => {
        await made.layer.logIn(req, { id: "ada", actor: { id: "eve" } });
        principals.push(req.principal);
        await made.layer.logIn(req, { id: "ada" });
        principals.push(req.principal);
        res.sendStatus(204);
      }),
    );
    const server = await serve(app);
    open.push(server, { close: () => made.layer.close?.() });
    await server.send("/both");
    expect(Object.isFrozen(principals[0]?.actor)).toBe(true);
    expect(principals[1]).not.toHaveProperty("actor");
  });

  it.each<[string, object]>([
    ["an actor without an id", { actor: {} }],
    ["an actor that is text", { actor: "eve" }],
    ["an actor whose id is empty", { actor: { id: "" } }],
    ["an actor whose id breaks the line", { actor: { id: "a\nb" } }],
    ["an empty label", { label: "" }],
    ["a label that breaks the line", { label: "a\r\nSet-Cookie: x" }],
    ["a label of 256 characters", { label: "a".repeat(256) }],
    ["a label that is no text", { label: 7 }],
  ])("refuses %s", async (_name, extra) => {
    const made = bench();
    const app = routes(express(), made);
    let refused: unknown;
    app.get(
      "/as",
      asHandler(async (req, res) => {
        refused = await logIn(req, { id: "ada", ...extra }).catch((error: unknown) => error);
        res.json({ id: req.principal?.id ?? null });
      }),
    );
    const server = await serve(app);
    open.push(server, { close: () => made.layer.close?.() });
    expect((await server.send("/as")).json()).toEqual({ id: null });
    expect(refused).toBeInstanceOf(InvalidInputError);
    expect(await made.layer.list("ada")).toEqual([]);
  });

  describe("logOut", () => {
    it.each<[unknown, string | undefined]>([
      [undefined, '"cache", "cookies", "storage"'],
      [true, '"cache", "cookies", "storage"'],
      [["cookies"], '"cookies"'],
      [["storage", "cache"], '"storage", "cache"'],
      [[], undefined],
      [false, undefined],
    ])("clearSiteData %j sends %s", async (clearSiteData, header) => {
      const made = bench();
      const app = routes(express(), made);
      app.get(
        "/bye",
        asHandler(async (req, res) => {
          await made.layer.logOut(req, res, { clearSiteData: clearSiteData as boolean });
          res.sendStatus(204);
        }),
      );
      const server = await serve(app);
      open.push(server, { close: () => made.layer.close?.() });
      const cookie = cookieOf(await server.send("/in/ada"));
      const answer = await server.send("/bye", withCookie(cookie));
      expect(answer.headers["clear-site-data"]).toBe(header);
      expect(setCookies(answer)[0]).toMatch(/^__Host-mcp_session=; Max-Age=0; /);
      expect((await server.send("/plain", withCookie(cookie))).json()).toMatchObject({ principal: null });
    });

    it("refuses other kinds of data, and the session goes on", async () => {
      const made = bench();
      const app = routes(express(), made);
      app.get(
        "/bye",
        asHandler(async (req, res) => {
          const kinds = ["everything"] as unknown as ["cookies"];
          const refused: unknown = await logOut(req, res, { clearSiteData: kinds }).catch((error: unknown) => error);
          res.json({ refused: refused instanceof InvalidInputError });
        }),
      );
      const server = await serve(app);
      open.push(server, { close: () => made.layer.close?.() });
      const cookie = cookieOf(await server.send("/in/ada"));
      const answer = await server.send("/bye", withCookie(cookie));
      expect(answer.json()).toEqual({ refused: true });
      expect((await server.send("/plain", withCookie(cookie))).json()).toMatchObject({ principal: { id: "ada" } });
    });
  });

  it("path: only requests below it have sessions, and the cookie says so", async () => {
    const made = bench({ path: "/admin" });
    const app = express();
    const inner = routes(express(), made);
    // The layer in front of everything, the routes at both places.
    app.use("/admin", inner);
    app.use("/administrators", inner);
    app.use(inner);
    const server = await serve(app);
    open.push(server, { close: () => made.layer.close?.() });
    const answer = await server.send("/admin/in/ada");
    expect(setCookies(answer)[0]).toMatch(
      /^__Secure-mcp_session=s%3A[^;]+; Max-Age=3600; Path=\/admin; HttpOnly; Secure/,
    );
    const cookie = cookieOf(answer);
    expect((await server.send("/admin/who", withCookie(cookie))).json()).toMatchObject({ id: "ada" });
    for (const path of ["/plain", "/administrators/plain"])
      expect((await server.send(path, withCookie(cookie))).json()).toMatchObject({ principal: null });
    expect((await server.send("/in/ada", withCookie(cookie))).status).toBe(500);
    expect(setCookies(await server.send("/admin/out", withCookie(cookie)))[0]).toContain("; Path=/admin;");
  });

  it("partitioned: the cookie is, except over plain http", async () => {
    const server = await start(bench({ partitioned: true, sameSite: "none" }));
    const answer = await server.send("/in/ada");
    expect(setCookies(answer)[0]).toMatch(/; Path=\/; HttpOnly; Secure; SameSite=None; Partitioned$/);
    expect(setCookies(await server.send("/out", withCookie(cookieOf(answer))))[0]).toMatch(/; Partitioned$/);
    const debug = await start(bench({ partitioned: true }, { debug: true }));
    expect(setCookies(await debug.send("/in/ada"))[0]).toMatch(
      /^mcp_session=s%3A[^;]+; Max-Age=3600; Path=\/; HttpOnly; SameSite=Lax$/,
    );
  });

  describe("secure of sessions() alone", () => {
    async function startPart(secure: boolean | "auto" | undefined, trust = false): Promise<TestServer> {
      const app = express();
      if (trust) app.set("trust proxy", 1);
      app.use(sessions({ secret: SECRET, ...(secure === undefined ? {} : { secure }) }));
      app.get(
        "/in",
        asHandler(async (req, res) => void (await logIn(req, { id: "ada" }), res.sendStatus(204))),
      );
      app.get("/who", (req, res) => void res.json({ id: req.principal?.id ?? null }));
      app.get(
        "/out",
        asHandler(async (req, res) => void (await logOut(req, res), res.sendStatus(204))),
      );
      const server = await serve(app);
      open.push(server);
      return server;
    }
    const tls = { "x-forwarded-proto": "https" };
    const SECURE = /^__Host-mcp_session=s%3A[^;]+; Max-Age=3600; Path=\/; HttpOnly; Secure; SameSite=Lax$/;
    const PLAIN = /^mcp_session=s%3A[^;]+; Max-Age=3600; Path=\/; HttpOnly; SameSite=Lax$/;

    it("is on by default, and false turns it off", async () => {
      expect(setCookies(await (await startPart(undefined)).send("/in"))[0]).toMatch(SECURE);
      expect(setCookies(await (await startPart(true)).send("/in"))[0]).toMatch(SECURE);
      const server = await startPart(false);
      const answer = await server.send("/in");
      expect(setCookies(answer)[0]).toMatch(PLAIN);
      expect((await server.send("/who", withCookie(cookieOf(answer)))).json()).toEqual({ id: "ada" });
    });

    it('"auto" follows req.secure, which believes a trusted proxy and nobody else', async () => {
      const server = await startPart("auto", true);
      const plain = await server.send("/in");
      const secure = await server.send("/in", { headers: tls });
      expect(setCookies(plain)[0]).toMatch(PLAIN);
      expect(setCookies(secure)[0]).toMatch(SECURE);
      // Each is read where it was given, and nowhere else.
      const ask = async (cookie: string, over: Record<string, string>): Promise<unknown> =>
        (await server.send("/who", { headers: { ...over, cookie } })).json();
      expect(await ask(cookieOf(plain), {})).toEqual({ id: "ada" });
      expect(await ask(cookieOf(secure), tls)).toEqual({ id: "ada" });
      expect(await ask(cookieOf(plain), tls)).toEqual({ id: null });
      expect(await ask(cookieOf(secure), {})).toEqual({ id: null });
      expect(setCookies(await server.send("/out", withCookie(cookieOf(plain))))[0]).toMatch(/^mcp_session=; .*Lax$/);
      const untrusting = await startPart("auto");
      expect(setCookies(await untrusting.send("/in", { headers: tls }))[0]).toMatch(PLAIN);
    });

    it("is an error under applySecurity, where debug decides", () => {
      for (const secure of [true, false, "auto"] as const)
        expect(
          issuesOf(() => applySecurity(express() as never, { debug: true, secretKey: SECRET, session: { secure } })),
        ).toEqual(["contradiction session.secure"]);
      expect(
        issuesOf(() => applySecurity(express() as never, { debug: true, secretKey: SECRET, session: {} })),
      ).toEqual([]);
    });
  });

  describe("two cookies of its name", () => {
    const lines = async (server: TestServer, name: string, path: string, host: string): Promise<string[]> => {
      const answer = await server.send(path, { headers: { host, cookie: `${name}=a; ${name}=b` } });
      expect(answer.status).toBe(400);
      expect(answer.json()).toMatchObject({ code: "ambiguous-credentials" });
      expect(answer.headers["cache-control"]).toBe("no-store");
      return setCookies(answer);
    };
    const expired = "; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT";

    it("are taken back wherever they may be, in the one refusal", async () => {
      const server = await start(bench({ domain: "example.com" }));
      const found = await lines(server, "__Secure-mcp_session", "/a/b?c=/d", "app.eu.example.com:8443");
      const places = ["/", "/a", "/a/b"].flatMap((path) =>
        ["", "; Domain=app.eu.example.com", "; Domain=eu.example.com", "; Domain=example.com"].map(
          (domain) => `__Secure-mcp_session=${expired}; Path=${path}${domain}; HttpOnly; Secure`,
        ),
      );
      expect(found.slice(0, -1)).toEqual(places);
      expect(found.at(-1)).toBe(
        `__Secure-mcp_session=${expired}; Path=/; Domain=example.com; HttpOnly; Secure; Partitioned`,
      );
    });

    it("cost a head that proxies forward, however long the path and the host are", async () => {
      const server = await start(bench({ domain: "example.com" }));
      const path = `/${Array.from({ length: 5 }, () => "a".repeat(50)).join("/")}`;
      const found = await lines(server, "__Secure-mcp_session", path, `${"b.".repeat(30)}example.com`);
      expect(found.join("").length).toBeLessThanOrEqual(2500);
      expect(found[0]).toBe(`__Secure-mcp_session=${expired}; Path=/; HttpOnly; Secure`);
      expect(found).toContain(`__Secure-mcp_session=${expired}; Path=/; Domain=example.com; HttpOnly; Secure`);
      expect(found.at(-1)).toContain("; Partitioned");
    });

    it("are one place with __Host-, partitioned or not", async () => {
      const server = await start(bench());
      expect(await lines(server, "__Host-mcp_session", "/a/b", "app.example.com")).toEqual([
        `__Host-mcp_session=${expired}; Path=/; HttpOnly; Secure`,
        `__Host-mcp_session=${expired}; Path=/; HttpOnly; Secure; Partitioned`,
      ]);
    });

    it("are not taken back in report mode, nor where there is one", async () => {
      const report = await start(bench({ mode: "report" }));
      const passed = await report.send("/plain", { headers: { cookie: "__Host-mcp_session=a; __Host-mcp_session=b" } });
      expect([passed.status, setCookies(passed)]).toEqual([200, []]);
      const server = await start(bench());
      expect(setCookies(await server.send("/plain", { headers: { cookie: "__Host-mcp_session=a" } }))).toEqual([]);
    });

    it("are cleared beside the headers of the other layers, and the next request is served", async () => {
      const app = express();
      const security: Security<{ session: object }> = applySecurity(app, {
        trustedHosts: ["app.example.com"],
        secretKey: SECRET,
        session: { domain: "example.com" },
      });
      app.get("/", (req, res) => void res.json({ id: req.principal?.id ?? null }));
      const server = await serve(app);
      open.push(server, security);
      const cookie = "__Secure-mcp_session=a; __Secure-mcp_session=b";
      const answer = await server.send("/", { headers: { host: "app.example.com", cookie } });
      expect(answer.status).toBe(400);
      expect(answer.headers["content-security-policy"]).toContain("default-src");
      expect(setCookies(answer)).toHaveLength(4);
      expect((await server.send("/", { headers: { host: "app.example.com" } })).json()).toEqual({ id: null });
    });
  });
});

it.each([{ maxAgeMs: "1" }, { maxAgeMs: null }, { label: 7 }, { actor: {} }, { actor: { id: 7 } }])(
  "a record whose own values are damaged is no session: %j",
  ({ actor, ...own }: { actor?: object }) => {
    const principal = { id: "ada", scopes: [], roles: [], actor: { id: "eve" } };
    const metadata = { createdAt: 1, seenAt: 1, principal, maxAgeMs: 60_000, label: "x" };
    const damaged = { ...metadata, ...own, principal: { ...principal, ...(actor && { actor }) } };
    expect(readMetadata({ [SESSION_METADATA]: metadata })).toEqual(metadata);
    expect(readMetadata({ [SESSION_METADATA]: damaged })).toBeUndefined();
  },
);

describe("the places of a cookie", () => {
  it("are bounded, whatever a client sends", () => {
    const host = fc.oneof(
      fc.string(),
      fc.domain(),
      fc.array(fc.constant("a"), { maxLength: 60 }).map((l) => l.join(".")),
    );
    const path = fc.oneof(
      fc.webPath(),
      fc.string(),
      fc.string({ maxLength: 2000 }).map((text) => `/${text}`),
    );
    fc.assert(
      fc.property(host, path, (given, at) => {
        const places = placesOfCookie("__Secure-sid", given, at);
        expect(places.length).toBeLessThanOrEqual(42);
        expect(places[0]).toEqual({ domain: undefined, path: "/" });
        for (const place of places) {
          expect(place.path).toMatch(/^\/[\x21-\x3a\x3c-\x7e]{0,255}$/);
          expect(place.domain ?? "a.b").toMatch(/^[a-z0-9_-]+(?:\.[a-z0-9_-]+)+$/);
        }
      }),
    );
  });

  it.each([
    ["192.0.2.7", []],
    ["[2001:db8::1]:80", []],
    ["localhost:3000", []],
    ["example.com", ["example.com"]],
    ["A.Example.com.", ["a.example.com", "example.com"]],
    ["not a host", []],
    [undefined, []],
  ])("%s has the domains %j", (host, domains) => {
    expect(placesOfCookie("sid", host, "/").map(({ domain }) => domain)).toEqual([undefined, ...domains]);
  });

  it.each([
    ["/admin", "/admin", true],
    ["/admin", "/admin/", true],
    ["/admin", "/admin/x", true],
    ["/admin", "/administrators", false],
    ["/admin", "/", false],
    ["/admin", undefined, false],
  ])("path %s covers %s: %s", (place, path, covered) => expect(isBelow(place, path)).toBe(covered));
});

describe("settings of the cookie", () => {
  const issues = (session: object): string[] =>
    issuesOf(() => parseSettings({ trustedHosts: ["a.example"], secretKey: SECRET, session }));

  it.each<[object, object, string]>([
    [{ path: "admin" }, { path: "/admin" }, "wrong-value session.path"],
    [{ path: "/admin/" }, { path: "/admin/eu" }, "wrong-value session.path"],
    [{ path: "/a;Domain=b" }, { path: "/a=b" }, "wrong-value session.path"],
    [{ path: "" }, { path: "/" }, "wrong-value session.path"],
    [{ path: "/a", cookieName: "__Host-sid" }, { path: "/a", cookieName: "sid" }, "contradiction session.path"],
    [{ cookieLifetime: "session" }, { cookieLifetime: "browser" }, "wrong-value session.cookieLifetime"],
    [{ partitioned: "yes" }, { partitioned: true }, "wrong-type session.partitioned"],
  ])("%j is refused, %j is not", (refused, allowed, issue) => {
    expect(issues(refused)).toEqual([issue]);
    expect(issues(allowed)).toEqual([]);
  });

  it("need Secure for SameSite=None and Partitioned", () => {
    const part = (settings: object): string[] => issuesOf(() => sessions({ secret: SECRET, ...settings }));
    expect(part({ secure: false, sameSite: "none" })).toEqual(["contradiction sameSite"]);
    expect(part({ secure: false, partitioned: true })).toEqual(["contradiction partitioned"]);
    expect(part({ secure: false })).toEqual([]);
    expect(part({ secure: "auto", sameSite: "none", partitioned: true })).toEqual([]);
  });
});
