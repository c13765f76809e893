import type { Express, Request, Response } from "express";
import { afterEach, describe, expect, it, vi } from "vitest";
import type Express5 from "express";
import { applySecurity, requireSession, type Security, type SecurityEvent, SetupError } from "portcullis";
import { EXPRESS } from "../support/express-versions.js";
import { serve } from "../support/serve.js";

const SECRET = "q7dS1uY0pXk3Vw8ZrT5nB2mC9eFgHjLa";
const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  vi.restoreAllMocks();
  for (const close of closing.splice(0)) await close();
});

async function start(app: Express) {
  const server = await serve(app);
  closing.push(() => server.close());
  return server;
}
const address = (req: Request, res: Response): void => void res.send(req.ip);
const settings = { debug: true, secretKey: SECRET } as const;

describe.each(EXPRESS)("a secured app inside another app, $name", ({ express }) => {
  const forwarded = { headers: { "x-forwarded-for": "203.0.113.9" } };

  it("has the outer app's trust proxy unless it has one of its own, mounted before or after it is secured", async () => {
    for (const first of ["mount", "secure"]) {
      for (const [trustProxy, expected] of [
        [undefined, "203.0.113.9"],
        [false, "127.0.0.1"],
      ] as const) {
        const outer = express();
        outer.set("trust proxy", 1);
        const inner = express();
        if (first === "mount") outer.use("/in", inner);
        const security = applySecurity(inner, { ...settings, trustProxy });
        closing.push(() => security.close());
        if (first === "secure") outer.use("/in", inner);
        inner.get("/", address);
        expect((await (await start(outer)).send("/in", forwarded)).text, `${first} ${String(trustProxy)}`).toBe(
          expected,
        );
      }
    }
  });

  it("trusts no proxy by itself, and reports its own trust proxy when the settings lack it", async () => {
    const app = express();
    const security = applySecurity(app, settings);
    closing.push(() => security.close());
    app.get("/", address);
    expect((await (await start(app)).send("/", forwarded)).text).toBe("127.0.0.1");
    expect(() => applySecurity(express().set("trust proxy", 1), settings)).toThrow(SetupError);
  });

  it("without sessions of its own logs in and out with those of the outer app, and when alone names the line to add", async () => {
    const [outer, inner, alone] = [express(), express(), express()];
    const around = applySecurity(outer, { ...settings, session: {} });
    const within = applySecurity(inner, settings);
    const security = applySecurity(alone, settings);
    for (const each of [around, within, security]) closing.push(() => each.close());
    const logInWith =
      ({ logIn }: Pick<Security, "logIn">) =>
      (req: Request, res: Response): void => {
        logIn(req, { id: "ada" }).then(
          () => void res.json({ id: req.principal?.id }),
          (error: unknown) =>
            void res.json({ isSetup: error instanceof SetupError, message: (error as Error).message }),
        );
      };
    inner.get("/in", logInWith(within));
    alone.get("/in", logInWith(security));
    outer.use("/inner", inner);
    expect((await (await start(outer)).send("/inner/in")).json()).toEqual({ id: "ada" });
    const refused = (await (await start(alone)).send("/in")).json() as { message: string };
    expect(refused).toMatchObject({ isSetup: true });
    expect(refused.message).toContain("Set `session: {}` in applySecurity (in the outer app");
    expect(refused.message).toContain("the outer app");
  });

  it("with sessions in both is an error at start; with sessions in the outer one works", async () => {
    const [outer, twice, once] = [express(), express(), express()];
    const security = [
      applySecurity(outer, { ...settings, session: {} }),
      applySecurity(twice, { ...settings, session: {} }),
      applySecurity(once, { ...settings, session: false }),
    ];
    closing.push(...security.map((one) => () => one.close()));
    expect(() => outer.use("/twice", twice)).toThrow(/session: false in the inner app/);
    const late = express();
    outer.use("/late", late);
    expect(() => applySecurity(late, { ...settings, session: {} })).toThrow(/session: false in the inner app/);

    const whole = express();
    const outerSecurity = applySecurity(whole, { ...settings, session: {} });
    closing.push(() => outerSecurity.close());
    whole.post("/login", (req, res, next) => {
      outerSecurity.logIn(req, { id: "ada" }).then(() => res.sendStatus(204), next);
    });
    whole.use("/once", once);
    once.get("/me", requireSession(), (req, res) => void res.send(req.principal?.id));
    const server = await start(whole);
    const cookie = String((await server.send("/login", { method: "POST" })).headers["set-cookie"]).split(";")[0] ?? "";
    expect((await server.send("/once/me", { headers: { cookie } })).text).toBe("ada");
    expect((await server.send("/once/me")).status).toBe(401);
  });
});

/** Ways to hand requests to an inner app of which Express tells that app nothing. */
const WAYS: { way: string; isFound: boolean; nest(express: typeof Express5, outer: Express, inner: Express): void }[] =
  [
    {
      way: "a router",
      isFound: true,
      nest: (express, outer, inner) => void outer.use("/in", express.Router().use(inner)),
    },
    {
      way: "two routers",
      isFound: true,
      nest: (express, outer, inner) => void outer.use("/in", express.Router().use("/", express.Router().use(inner))),
    },
    {
      way: "a router of an app between",
      isFound: false,
      nest: (express, outer, inner) => void outer.use("/in", express().use(express.Router().use(inner))),
    },
    {
      way: "a route",
      isFound: false,
      nest: (_express, outer, inner) => void outer.all(/^\/in/, (req, res, next) => void inner(req, res, next)),
    },
    {
      way: "a function",
      isFound: false,
      nest: (_express, outer, inner) => void outer.use("/in", (req, res, next) => void inner(req, res, next)),
    },
  ];

describe.each(EXPRESS.flatMap(({ name, express }) => WAYS.map((row) => ({ name, express, ...row }))))(
  "a secured app inside another by $way, $name",
  ({ express, isFound, nest }) => {
    async function run(outerSettings: object, innerSettings: object) {
      const warned = vi.spyOn(process, "emitWarning").mockImplementation(() => undefined);
      const [outer, inner] = [express(), express()];
      const outerSecurity = applySecurity(outer, { ...settings, ...outerSettings }) as Security<{ session: object }>;
      const innerSecurity = applySecurity(inner, { ...settings, ...innerSettings });
      closing.push(
        () => outerSecurity.close(),
        () => innerSecurity.close(),
      );
      const events: SecurityEvent[] = [];
      innerSecurity.events.on("*", (event) => void events.push(event));
      inner.use(requireSession(), (req, res) => void res.send(req.principal?.id));
      outer.post("/login", (req, res, next) => {
        outerSecurity.logIn(req, { id: "ada" }).then(() => res.sendStatus(204), next);
      });
      nest(express, outer, inner);
      const server = await start(outer);
      const said = (code: string): string[] =>
        warned.mock.calls.filter(([, options]) => options?.code === code).map(([message]) => String(message));
      return { server, outerSecurity, innerSecurity, events, said };
    }

    it("with sessions in both is an error that names the remedy, at start where Express reveals it, otherwise once at the first request", async () => {
      const { server, outerSecurity, innerSecurity, events, said } = await run({ session: {} }, { session: {} });
      await innerSecurity.ready();
      if (isFound) await expect(outerSecurity.ready()).rejects.toThrow(/session: false in the inner app/);
      else await outerSecurity.ready();
      for (let request = 0; request < 3; request += 1) {
        const answer = await server.send("/in");
        expect([answer.status, (answer.json() as { code: string }).code]).toEqual([500, "protection-not-run"]);
      }
      expect(said("PORTCULLIS_SESSION")).toEqual([expect.stringMatching(/session: false in the inner app/)]);
      expect(events.filter(({ event }) => event === "portcullis_misconfigured")).toEqual([
        expect.objectContaining({ source: "session", reason: "second-session-middleware" }),
      ]);
    });

    it("with sessions in the outer one works without a warning", async () => {
      const { server, outerSecurity, events, said } = await run({ session: {} }, { session: false });
      await outerSecurity.ready();
      const cookie =
        String((await server.send("/login", { method: "POST" })).headers["set-cookie"]).split(";")[0] ?? "";
      expect((await server.send("/in", { headers: { cookie } })).text).toBe("ada");
      expect((await server.send("/in")).status).toBe(401);
      expect([
        said("PORTCULLIS_SESSION"),
        said("PORTCULLIS_TRUST_PROXY"),
        events.filter(({ event }) => event !== "authz_fail"),
      ]).toEqual([[], [], []]);
    });

    it("warns once when it does not have the outer app's trust proxy, and not where it has", async () => {
      for (const [trustProxy, expected] of [
        [undefined, 1],
        [1, 0],
      ] as const) {
        const { server, events, said } = await run({ trustProxy: 1 }, { trustProxy });
        for (let request = 0; request < 2; request += 1)
          await server.send("/in", { headers: { "x-forwarded-for": "203.0.113.9" } });
        expect(said("PORTCULLIS_TRUST_PROXY")).toHaveLength(expected);
        expect(events.filter(({ event }) => event === "portcullis_untrusted_proxy")).toHaveLength(expected);
        vi.restoreAllMocks();
      }
    });
  },
);

describe.each(EXPRESS)("settings that Express fixes with the first middleware, $name", ({ express }) => {
  async function run(before: (app: Express) => void, after: (app: Express) => void) {
    const warned = vi.spyOn(process, "emitWarning").mockImplementation(() => undefined);
    const app = express();
    before(app);
    const security = applySecurity(app, settings);
    closing.push(() => security.close());
    const events: SecurityEvent[] = [];
    security.events.on("portcullis_misconfigured", (event) => void events.push(event));
    after(app);
    app.get("/u", (req, res) => void res.json(req.query));
    const server = await start(app);
    const statuses = [(await server.send("/u/")).status, (await server.send("/U")).status];
    const { text } = await server.send("/u?a[$ne]=1");
    const said = warned.mock.calls
      .map(([message]) => String(message))
      .filter((message) => message.startsWith("Express ignores"));
    vi.restoreAllMocks();
    return { statuses, text, said, events };
  }
  const set = (app: Express): void => {
    app.set("strict routing", true).set("case sensitive routing", true).set("query parser", "simple");
  };

  it("hold when they are set before applySecurity", async () => {
    expect(await run(set, () => undefined)).toEqual({
      statuses: [404, 404],
      text: '{"a[$ne]":"1"}',
      said: [],
      events: [],
    });
  });

  it("are reported once, by name, when they are set after it; the query parser holds", async () => {
    const { said, events, text } = await run(() => undefined, set);
    expect(text).toBe('{"a[$ne]":"1"}');
    expect(said).toEqual([
      `Express ignores "strict routing", "case sensitive routing" when set after applySecurity. Call app.set before applySecurity.`,
    ]);
    expect(events).toEqual([
      expect.objectContaining({ source: "pipeline", reason: "late-routing-setting", level: "CRITICAL" }),
    ]);
  });

  it.each([
    ["refused for its host", { trustedHosts: ["api.example.com"] }, {}, 400],
    [
      "refused for its origin",
      { cors: { origins: ["https://app.example.com"], refused: "reject" } },
      { headers: { origin: "https://evil.example" } },
      403,
    ],
    [
      "a preflight",
      { cors: { origins: ["https://app.example.com"] } },
      { method: "OPTIONS", headers: { origin: "https://app.example.com", "access-control-request-method": "GET" } },
      204,
    ],
    ["refused for its key", { apiKeys: { hash: "hmac-sha256" } }, { headers: { "x-api-key": "mcp_x" } }, 401],
  ] as const)(
    "are reported by the first request when it is %s, and only by the first",
    async (_what, protection, request, status) => {
      const warned = vi.spyOn(process, "emitWarning").mockImplementation(() => undefined);
      const app = express();
      const security = applySecurity(app, { ...settings, ...protection });
      closing.push(() => security.close());
      const reasons: unknown[] = [];
      security.events.on("portcullis_misconfigured", ({ reason }) => void reasons.push(reason));
      set(app);
      const server = await start(app);
      for (let time = 0; time < 2; time += 1) {
        expect((await server.send("/", request)).status).toBe(status);
        expect(reasons).toEqual(["late-routing-setting"]);
      }
      expect(warned.mock.calls.filter(([message]) => String(message).startsWith("Express ignores"))).toHaveLength(1);
    },
  );

  it.each([
    { given: {}, late: true },
    { given: { trustProxy: false as const }, late: 1 },
    { given: { trustProxy: 1 }, late: 2 },
  ])(
    "trust proxy set after applySecurity is refused by ready(), and reported by the first request ($given, then $late)",
    async ({ given, late }) => {
      const warned = vi.spyOn(process, "emitWarning").mockImplementation(() => undefined);
      const app = express();
      const security = applySecurity(app, { ...settings, ...given });
      closing.push(() => security.close());
      const reasons: unknown[] = [];
      security.events.on("portcullis_misconfigured", ({ reason }) => void reasons.push(reason));
      app.set("trust proxy", late);
      await expect(security.ready()).rejects.toThrow('The app sets "trust proxy" itself.');
      const server = await start(app);
      for (let time = 0; time < 2; time += 1) await server.send("/");
      expect(reasons).toEqual(["late-trust-proxy"]);
      expect(warned.mock.calls.filter(([message]) => String(message).startsWith("The app sets"))).toHaveLength(1);
      vi.restoreAllMocks();
    },
  );

  it("trust proxy of an outer app is not one that the app sets itself", async () => {
    const inner = express();
    const security = applySecurity(inner, settings);
    closing.push(() => security.close());
    const reasons: unknown[] = [];
    security.events.on("portcullis_misconfigured", ({ reason }) => void reasons.push(reason));
    const outer = express().set("trust proxy", 1);
    outer.use(inner);
    await security.ready();
    await (await start(outer)).send("/");
    expect(reasons).toEqual([]);
  });

  it("are not reported when nothing changed, or for a setting that is read for each request", async () => {
    const { said, events } = await run(set, (app) => app.set("etag", false).set("strict routing", true));
    expect([said, events]).toEqual([[], []]);
  });
});
