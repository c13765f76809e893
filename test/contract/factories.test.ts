import express, { type ErrorRequestHandler, type RequestHandler } from "express";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import * as portcullis from "portcullis";
import { ApiKeyService, JwtManager, SettingsError, SetupError, SlidingWindowStore } from "portcullis";
import { serve } from "../support/serve.js";

const SECRET = "k3Vt9sQfYb2LxWn8RzGj5HdPm7CuTa4E";
const keys = new ApiKeyService();
const tokens = new JwtManager({ secret: SECRET });

interface Factory {
  name: string;
  make: (settings?: never) => RequestHandler;
  /** The least it needs; absent when nothing is required. */
  required?: Record<string, unknown>;
  /** The issue for a call without it. */
  missing?: string;
  optional: string[];
  /** The status of a bare GET / through it; 200 unless it is routes of its own. */
  status?: number;
}

const FACTORIES: Factory[] = [
  {
    name: "securityHeaders",
    make: portcullis.securityHeaders,
    optional: ["mode", "contentSecurityPolicy", "permissionsPolicy", "frameOptions", "reportingEndpoints"],
  },
  {
    name: "rateLimiter",
    make: portcullis.rateLimiter,
    optional: ["limit", "windowSeconds", "key", "cost", "allow", "perPrincipal", "store", "mode"],
  },
  {
    name: "corsPolicy",
    make: (settings) => portcullis.corsPolicy(settings as never),
    required: { origins: ["https://a.example"] },
    missing: "missing-setting origins",
    optional: ["credentials", "methods", "maxAge", "mode"],
  },
  {
    name: "trustedHost",
    make: (settings) => portcullis.trustedHost(settings),
    required: { hosts: ["127.0.0.1"] },
    missing: "missing-setting hosts",
    optional: ["exemptPaths", "forwardedHost", "mode"],
  },
  {
    name: "sessions",
    make: (settings) => portcullis.sessions(settings as never),
    required: { secret: SECRET },
    missing: "missing-setting secret",
    optional: ["cookieName", "maxAge", "absoluteMaxAge", "domain", "store", "mode"],
  },
  {
    name: "csrfProtection",
    make: portcullis.csrfProtection,
    optional: ["trustedOrigins", "exemptPaths", "sameSite", "unmarked", "mode"],
  },
  {
    name: "apiKeyAuth",
    make: (settings) => portcullis.apiKeyAuth(keys, settings),
    optional: ["mode", "headerName", "realm"],
  },
  { name: "jwtAuth", make: (settings) => portcullis.jwtAuth(tokens, settings), optional: ["mode", "realm"] },
  { name: "apiKeyRoutes", make: (options) => portcullis.apiKeyRoutes(keys, options), optional: [], status: 401 },
  { name: "tokenRoutes", make: (options) => portcullis.tokenRoutes(tokens, options), optional: ["jwksMaxAgeSeconds"] },
];

function issuesOf(call: () => unknown): string[] {
  try {
    call();
  } catch (error) {
    expect(error).toBeInstanceOf(SettingsError);
    return (error as SettingsError).issues.map(({ code, path }) => `${code} ${path}`);
  }
  return [];
}

async function statusOf(handler: RequestHandler): Promise<number> {
  const app = express();
  app.use(handler);
  app.get("/", (_req, res) => void res.send("reached"));
  const server = await serve(app);
  const { status } = await server.send("/");
  await server.close();
  return status;
}

describe.each(FACTORIES)("$name()", ({ name, make, required = {}, missing, optional, status = 200 }) => {
  const unset = Object.fromEntries(optional.map((name) => [name, undefined]));

  it.each([
    ["nothing", undefined],
    ["undefined values", { ...Object.fromEntries(Object.keys(required).map((name) => [name, undefined])), ...unset }],
    ["{}", {}],
    ["a frozen object", Object.freeze({})],
    ["a null-prototype object", Object.create(null) as object],
  ])("works when it is called with %s and nothing else", async (_name, settings) => {
    if (missing === undefined) expect(await statusOf(make(settings as never))).toBe(status);
    else expect(issuesOf(() => make(settings as never))).toEqual([missing]);
  });

  it.each([
    ["what it needs", { ...required }],
    ["what it needs, and undefined values", { ...required, ...unset }],
    ["what it needs, frozen", Object.freeze({ ...required })],
    ["what it needs, without a prototype", Object.assign(Object.create(null) as object, required)],
  ])("makes a working middleware when it is called with %s", async (_name, settings) => {
    const before = JSON.stringify(settings);
    expect(await statusOf(make(settings as never))).toBe(status);
    expect(JSON.stringify(settings)).toBe(before);
  });

  it.each([["a name that is not known", { ...required, nosuchsetting: 1 }, ["unknown-setting nosuchsetting"]]])(
    "names the mistake when it is called with %s",
    (_name, settings, issues) => {
      expect(issuesOf(() => make(settings as never))).toEqual(issues);
    },
  );

  it("throws a SettingsError when it is called with a value that is not an object", () => {
    const values = [7, "x", true, Symbol("s"), () => 1];
    // A function decides about hosts.
    for (const settings of name === "trustedHost" ? values.slice(0, -1) : values)
      expect(
        issuesOf(() => make(settings as never)),
        String(settings),
      ).not.toEqual([]);
  });
});

describe("random settings of a factory", () => {
  const scalar = fc.constantFrom<unknown>(
    true,
    false,
    null,
    undefined,
    0,
    1,
    -1,
    1e400,
    NaN,
    "",
    "*",
    "none",
    SECRET,
    "https://a.example",
    "a.example",
    "10.0.0.0/8",
    "report",
    "HS256",
    10n,
    () => 1,
    new Date(0),
    new Map(),
  );
  const value = fc.oneof(
    scalar,
    fc.string({ maxLength: 12 }),
    fc.array(scalar, { maxLength: 3 }),
    fc.dictionary(fc.constantFrom("limit", "windowSeconds", "directives", "maxAge", "__proto__", "x"), scalar, {
      maxKeys: 3,
    }),
  );

  it.each(FACTORIES)(
    "make $name() throw a SettingsError or return a middleware that answers",
    async ({ make, required = {}, optional }) => {
      const names = fc.constantFrom(...Object.keys(required), ...optional, "mode", "__proto__", "constructor");
      let worked = 0;
      await fc.assert(
        fc.asyncProperty(fc.oneof(fc.dictionary(names, value, { maxKeys: 2 }), value), async (given) => {
          const settings =
            typeof given === "object" && given !== null && !Array.isArray(given) ? { ...required, ...given } : given;
          let handler: RequestHandler | undefined;
          issuesOf(() => (handler = make(settings as never)));
          if (handler === undefined) return;
          worked += 1;
          expect([200, 400, 401, 403, 429, 503]).toContain(await statusOf(handler));
        }),
        { numRuns: 150 },
      );
      expect(worked).toBeGreaterThan(0);
    },
  );
});

describe("a class that users construct", () => {
  const shapes = [undefined, {}, Object.freeze({}), Object.create(null) as object];
  it("accepts no argument, {}, frozen and null-prototype objects", () => {
    for (const settings of shapes) {
      expect(new ApiKeyService(settings as never)).toBeInstanceOf(ApiKeyService);
      expect(new SlidingWindowStore(settings as never)).toBeInstanceOf(SlidingWindowStore);
      expect(issuesOf(() => new JwtManager(settings as never))).toEqual(["missing-setting secret"]);
      const withSecret = Object.assign(
        Object.create(
          settings === undefined ? Object.prototype : (Object.getPrototypeOf(settings) as object | null),
        ) as object,
        { secret: SECRET, issuer: undefined },
      );
      expect(new JwtManager(withSecret)).toBeInstanceOf(JwtManager);
    }
  });
});

describe("a factory mounted without being called, or without its service", () => {
  const factories = Object.entries(portcullis as unknown as Record<string, unknown>).filter(([name]) =>
    /^(securityHeaders|rateLimiter|corsPolicy|trustedHost|sessions|csrfProtection|apiKeyAuth|jwtAuth|require\w+)$/.test(
      name,
    ),
  ) as [string, RequestHandler][];

  it("each factory is in this test", () => expect(factories).toHaveLength(12));

  it.each(factories)("app.use(%s) fails the request, and the error names the line to write", async (name, factory) => {
    const errors: unknown[] = [];
    const app = express();
    app.use(factory);
    app.use(((error, _req, res, _next) => {
      errors.push(error);
      res.status(500).end();
    }) as ErrorRequestHandler);
    const server = await serve(app);
    expect((await server.send("/")).status).toBe(500);
    await server.close();
    expect(errors).toEqual([expect.any(SetupError)]);
    expect(String(errors[0])).toContain(`Write app.use(${name}()) instead`);
  });

  it.each([[undefined], [null], [{}], [{ secret: SECRET }], [express()]])(
    "%o is refused: it is neither a service nor a manager",
    (wrong) => {
      expect(() => portcullis.apiKeyAuth(wrong as never)).toThrow(/apiKeyAuth\(new ApiKeyService\(\)\)/);
      expect(() => portcullis.jwtAuth(wrong as never)).toThrow(/jwtAuth\(new JwtManager/);
    },
  );
});
