import express, { type Express, type RequestHandler } from "express";
import { describe, expect, it } from "vitest";
import * as portcullis from "portcullis";
import {
  ApiKeyService,
  JwtManager,
  SecurityEvents,
  SetupError,
  type PartDependencies,
  type SecurityEvent,
} from "portcullis";
import { serve } from "../support/serve.js";

const SECRET = "k3Vt9sQfYb2LxWn8RzGj5HdPm7CuTa4E";

/** What a part is to be asked so that it refuses, and the reason it gives. */
interface Part {
  name: string;
  make(deps: PartDependencies): RequestHandler;
  request: { method?: string; headers?: Record<string, string>; times?: number };
  expected: { event: string; source: string };
}

const PARTS: Part[] = [
  {
    name: "trustedHost",
    make: (deps) => portcullis.trustedHost(["a.example"], deps),
    request: {},
    expected: { event: "portcullis_untrusted_host", source: "trusted-host" },
  },
  {
    name: "corsPolicy",
    make: (deps) => portcullis.corsPolicy({ origins: ["https://a.example"] }, deps),
    request: { headers: { origin: "https://b.example" } },
    expected: { event: "malicious_cors", source: "cors" },
  },
  {
    name: "rateLimiter",
    make: (deps) => portcullis.rateLimiter({ limit: 1 }, deps),
    request: { times: 2 },
    expected: { event: "excess_rate_limit_exceeded", source: "rate-limit" },
  },
  {
    name: "csrfProtection",
    make: (deps) => portcullis.csrfProtection({}, deps),
    request: { method: "POST", headers: { "sec-fetch-site": "cross-site" } },
    expected: { event: "malicious_csrf", source: "csrf" },
  },
  {
    name: "sessions",
    make: (deps) => portcullis.sessions({ secret: SECRET }, deps),
    request: { headers: { cookie: "__Host-mcp_session=x" } },
    expected: { event: "input_validation_fail", source: "session" },
  },
  {
    name: "apiKeyAuth",
    make: (deps) => portcullis.apiKeyAuth(new ApiKeyService(), {}, deps),
    request: { headers: { "x-api-key": "mcp_x" } },
    expected: { event: "authn_login_fail", source: "api-key" },
  },
  {
    name: "jwtAuth",
    make: (deps) => portcullis.jwtAuth(new JwtManager({ secret: SECRET }), {}, deps),
    request: { headers: { authorization: "Bearer a.b.c" } },
    expected: { event: "authn_login_fail", source: "jwt" },
  },
  {
    name: "apiKeyRoutes",
    make: (deps) => portcullis.apiKeyRoutes(new ApiKeyService(), {}, deps),
    request: {},
    expected: { event: "authz_fail", source: "api-key-routes" },
  },
  {
    name: "tokenRoutes",
    make: (deps) => portcullis.tokenRoutes(new JwtManager({ secret: SECRET }), {}, deps),
    request: { method: "POST", headers: { "content-type": "text/plain", "content-length": "0" } },
    expected: { event: "input_validation_fail", source: "jwt" },
  },
];

function heardBy(events: SecurityEvents): SecurityEvent[] {
  const heard: SecurityEvent[] = [];
  events.on("*", (event) => heard.push(event));
  return heard;
}

async function ask(
  app: Express,
  { method = "GET", headers = {}, times = 1 }: Part["request"],
  path = "/",
): Promise<{ status: number; text: string }> {
  const server = await serve(app);
  for (let before = 1; before < times; before += 1) await server.send(path, { method, headers });
  const answer = await server.send(path, { method, headers });
  await server.close();
  return answer;
}

describe.each(PARTS)("$name used alone", ({ name, make, request, expected }) => {
  const path = name === "tokenRoutes" ? "/refresh" : "/";

  it("reports its refusals to its own events, behind another part with events of its own", async () => {
    const [own, others] = [new SecurityEvents(), new SecurityEvents()];
    const [heard, elsewhere] = [heardBy(own), heardBy(others)];
    const app = express();
    app.use(portcullis.securityHeaders({}, { events: others }));
    app.use(make({ events: own }));
    await ask(app, request, path);
    expect(heard).toEqual([expect.objectContaining(expected)]);
    expect(elsewhere).toEqual([]);
  });

  it("refuses an `events` that is not a SecurityEvents", () => {
    expect(() => make({ events: { on: () => undefined } as never })).toThrow(SetupError);
    expect(() => make({ events: undefined })).not.toThrow();
  });
});

describe("parts used alone", () => {
  it("report a guard's refusal to the events of the layer before it, or to those given to the guard", async () => {
    for (const own of [undefined, new SecurityEvents()]) {
      const events = new SecurityEvents();
      const heard = heardBy(events);
      const app = express();
      app.use(portcullis.sessions({ secret: SECRET }, { events }));
      app.use(own === undefined ? portcullis.requireSession() : portcullis.requireSession({}, { events: own }));
      const heardByGuard = own === undefined ? heard : heardBy(own);
      expect((await ask(app, {})).status).toBe(401);
      expect(heardByGuard).toEqual([
        expect.objectContaining({ event: "authz_fail", source: "requireSession", level: "INFO" }),
      ]);
      if (own !== undefined) expect(heard).toEqual([]);
    }
  });

  it("have services with events and clocks of their own", async () => {
    const events = new SecurityEvents();
    const heard = heardBy(events);
    const clock = { now: () => 1_000_000, monotonic: () => 0 };
    const { record } = await new ApiKeyService({}, { events, clock }).create({ ownerId: 42, name: "k" });
    expect([record.ownerId, record.createdAt]).toEqual(["42", 1_000_000]);
    const manager = new JwtManager({ secret: SECRET }, { events, clock });
    const { accessToken } = await manager.issue(7);
    expect((await manager.verifyAccessToken(accessToken)).sub).toBe("7");
    expect(heard.map(({ event, subject }) => [event, subject])).toEqual([
      ["authn_token_created", "42"],
      ["authn_token_created", "7"],
    ]);
    for (const [name, wrong] of Object.entries({
      fraction: 1.5,
      unsafe: 2 ** 53,
      nan: Number.NaN,
      bigint: 1n,
      boolean: true,
      object: {},
      nothing: undefined,
    })) {
      await expect(manager.issue(wrong as never), name).rejects.toMatchObject({ code: "invalid-input", status: 400 });
      await expect(new ApiKeyService().create({ ownerId: wrong as never, name: "k" }), name).rejects.toMatchObject({
        code: "invalid-input",
        status: 400,
      });
    }
  });

  it("answer with the body their onRefusal gives", async () => {
    const app = express();
    app.use(portcullis.trustedHost(["a.example"], { onRefusal: () => ({ contentType: "text/plain", body: "mine" }) }));
    expect(await ask(app, {})).toMatchObject({ status: 400, text: "mine" });
  });

  it("do not change where applySecurity() reports, for guards too", async () => {
    const app = express();
    const security = portcullis.applySecurity(app, {
      debug: true,
      trustedHosts: ["127.0.0.1"],
      secretKey: SECRET,
      session: {},
    });
    const heard = heardBy(security.events);
    const elsewhere = new SecurityEvents();
    const others = heardBy(elsewhere);
    app.use(portcullis.apiKeyAuth(new ApiKeyService(), {}, { events: elsewhere }));
    app.use(security.requireSession());
    expect((await ask(app, {})).status).toBe(401);
    await security.close();
    expect(heard.map(({ event }) => event)).toContain("authz_fail");
    expect(others).toEqual([]);
  });
});
