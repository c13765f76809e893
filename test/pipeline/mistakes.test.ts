import cors from "cors";
import express, { type Express } from "express";
import { rateLimit } from "express-rate-limit";
import session from "express-session";
import helmet from "helmet";
import { afterEach, describe, expect, it, vi } from "vitest";
import {
  applySecurity,
  corsPolicy,
  requireAuth,
  requireJwt,
  requireSession,
  type Security,
  type SecuritySettings,
  SetupError,
} from "portcullis";
import { EXPRESS } from "../support/express-versions.js";
import { serve } from "../support/serve.js";

const SECRET = "k3Vt9sQfYb2LxWn8RzGj5HdPm7CuTa4E";
const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  vi.restoreAllMocks();
  await Promise.all(closing.splice(0).map((close) => close()));
});

describe.each(EXPRESS)("middleware in the wrong place, $name", ({ express: create }) => {
  /** Warnings at the call of applySecurity and at two requests, and the reasons of the events at the requests. */
  async function run(
    settings: SecuritySettings,
    {
      before = () => undefined,
      after = () => undefined,
    }: Partial<Record<"before" | "after", (app: Express) => unknown>>,
  ) {
    const warned = vi.spyOn(process, "emitWarning").mockImplementation(() => undefined);
    const warnings = () =>
      warned.mock.calls
        .splice(0)
        .filter(([, options]) => /PORTCULLIS_(ORDER|OVERWRITTEN)/.test(JSON.stringify(options)))
        .map(([message]) => String(message));
    const app = create();
    before(app);
    const security = applySecurity(app, { debug: true, ...settings });
    const reasons: unknown[] = [];
    security.events.on("portcullis_misconfigured", ({ reason }) => void reasons.push(reason));
    after(app);
    app.get("/", (_req, res) => void res.send("hello"));
    const atStart = warnings();
    const server = await serve(app);
    closing.push(server.close, () => security.close());
    for (let request = 0; request < 2; request += 1) await server.send("/");
    return { atStart, atRequests: warnings(), reasons };
  }
  const quiet = { atStart: [], atRequests: [], reasons: [] };

  it("express.static before applySecurity is reported; behind it, and other middleware before it, is not", async () => {
    const files = (app: Express) => app.use(express.static(import.meta.dirname));
    const { atStart } = await run({}, { before: files });
    expect(atStart).toEqual([
      "express.static is mounted before applySecurity, so its files are served without protection. Mount it after applySecurity.",
    ]);
    expect(await run({}, { before: (app) => app.use(express.json()), after: files })).toEqual(quiet);
  });

  it("helmet behind applySecurity is reported once; with headers: false it is not", async () => {
    const add = (app: Express) => app.use(helmet());
    expect(await run({}, { after: add })).toEqual({
      atStart: [],
      atRequests: [
        "The package helmet is mounted after applySecurity and overwrites its security headers. Remove it, and use the setting headers.",
      ],
      reasons: ["helmet-mounted"],
    });
    expect(await run({ headers: false }, { after: add })).toEqual(quiet);
  });

  it.each([
    ["helmet", helmet(), "sends headers of its own beside those of applySecurity", "headers", {}],
    ["cors", cors(), "answers preflights by its own rules", "cors", { origins: ["https://app.example.com"] }],
    ["express-rate-limit", rateLimit({ limit: 9 }), "counts and refuses requests by its own rules", "rateLimit", {}],
    [
      "express-session",
      session({ secret: SECRET, resave: false, saveUninitialized: false }),
      "gives requests a session of its own",
      "session",
      { secret: SECRET },
    ],
  ] as const)(
    "%s before applySecurity is reported, unless its setting is off",
    async (name, handler, does, setting, on) => {
      const before = (app: Express) => app.use(handler as unknown as express.RequestHandler);
      const { atStart } = await run({ [setting]: on }, { before });
      expect(atStart).toEqual([
        `The package ${name} is mounted before applySecurity and ${does}. Remove it, and use the setting ${setting}.`,
      ]);
      expect((await run({ [setting]: false }, { before })).atStart).toEqual([]);
    },
  );

  it("cors before applySecurity cannot allow an origin that the setting cors refuses", async () => {
    vi.spyOn(process, "emitWarning").mockImplementation(() => undefined);
    const app = create();
    app.use(cors({ origin: true, credentials: true, exposedHeaders: "X-Secret", maxAge: 60 }));
    const security = applySecurity(app, { debug: true, cors: { origins: ["https://app.example.com"] } });
    app.get("/", (_req, res) => void res.send("hello"));
    const server = await serve(app);
    closing.push(server.close, () => security.close());
    const allowed = async (origin: string) => {
      const { headers } = await server.send("/", { headers: { Origin: origin } });
      return Object.fromEntries(Object.entries(headers).filter(([name]) => name.startsWith("access-control-")));
    };
    expect(await allowed("https://evil.example")).toEqual({});
    expect(await allowed("https://app.example.com")).toEqual({
      "access-control-allow-origin": "https://app.example.com",
      "access-control-expose-headers": "RateLimit,RateLimit-Policy,Retry-After",
    });
  });

  it("the package cors behind applySecurity is reported when the setting cors is on", async () => {
    const add = (app: Express) => app.use(cors());
    const on = { cors: { origins: ["https://app.example.com"] } };
    expect(await run(on, { after: add })).toMatchObject({ reasons: ["cors-mounted"] });
    expect(await run({}, { after: add })).toEqual(quiet);
    expect(await run(on, {})).toEqual(quiet);
    const ours = (app: Express) => app.use("/widget", corsPolicy({ origins: "*" }));
    expect(await run(on, { after: ours })).toEqual(quiet);
  });

  it("a guard whose protection is off is reported at start; one that is imported is not", async () => {
    const warned = vi.spyOn(process, "emitWarning").mockImplementation(() => undefined);
    const security = applySecurity(create(), { debug: true, secretKey: SECRET, apiKeys: {} });
    closing.push(() => security.close());
    security.requireApiKey();
    requireJwt();
    requireSession();
    expect(
      warned.mock.calls.filter(([, options]) => (options as { code?: string }).code === "PORTCULLIS_GUARD"),
    ).toEqual([]);
    for (const [name, setting] of [
      ["requireJwt", "jwt"],
      ["requireSession", "session"],
    ] as const) {
      security[name]();
      expect(warned).toHaveBeenLastCalledWith(
        `security.${name}() needs the setting ${setting}, which is off. Turn it on: applySecurity(app, { ${setting}: {} }). If an outer app or other middleware proves the callers, import ${name} from portcullis.`,
        { code: "PORTCULLIS_GUARD" },
      );
    }
  });

  it("a guard that is mounted without being called rejects ready(), wherever it is; one that is called does not", async () => {
    const mounts: [string | undefined, (app: Express, security: Security<{ session: object }>) => unknown][] = [
      ["requireAuth", (app) => app.get("/", requireAuth as never, (_req, res) => void res.end())],
      ["security.requireAuth", (app, security) => app.use(security.requireAuth as never)],
      [
        "security.requireSession",
        (app, security) => app.use("/deep", create.Router().get("/", security.requireSession as never)),
      ],
      ["security.rateLimit", (app, security) => app.use("/a", security.rateLimit as never)],
      [
        undefined,
        (app, security) => app.get("/", requireAuth(), security.requireSession(), (_req, res) => void res.end()),
      ],
    ];
    for (const [name, mount] of mounts) {
      const app = create();
      const security = applySecurity(app, { debug: true, secretKey: SECRET, session: {} });
      closing.push(() => security.close());
      mount(app, security);
      if (name === undefined) await security.ready();
      else
        await expect(security.ready()).rejects.toThrow(
          `${name} is mounted without being called. Write ${name}() instead of ${name}.`,
        );
    }
  });

  it("applySecurity mounted as a middleware fails each request and names the call to write", async () => {
    const errors: unknown[] = [];
    const app = create();
    app.use(applySecurity as never);
    app.use(((error, _req, res, _next) => {
      errors.push(error);
      res.status(500).end();
    }) as express.ErrorRequestHandler);
    const server = await serve(app);
    closing.push(server.close);
    expect((await server.send("/")).status).toBe(500);
    expect(errors).toEqual([expect.any(SetupError)]);
    expect(String(errors[0])).toContain("Call applySecurity(app, settings) once, instead of app.use(applySecurity)");
  });
});
