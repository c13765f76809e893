import type { Express, NextFunction, Request, Response } from "express";
import { afterEach, describe, expect, it } from "vitest";
import { createPrincipal } from "../../src/core/principal.js";
import { stateOf } from "../../src/core/request-state.js";
import { apiKeyAuth, createApiKey } from "../../src/api-key/middleware.js";
import type { ApiKeyAuthSettings, ApiKeySettings } from "../../src/api-key/settings.js";
import { EXPRESS } from "../support/express-versions.js";
import { serve, type TestServer } from "../support/serve.js";
import { type Bench, bench, forged } from "./support.js";

const KEY = { ownerId: "user-1", name: "ci", scopes: ["read"], roles: ["r"] };
const PROBLEM = {
  type: "urn:problem-type:portcullis:invalid-credentials",
  title: "Invalid credentials",
  status: 401,
  detail: "The credentials of this request are invalid.",
  code: "invalid-credentials",
};

describe.each(EXPRESS)("API key layer on $name", ({ express }) => {
  const open: TestServer[] = [];
  afterEach(async () => {
    for (const server of open.splice(0)) await server.close();
  });

  async function start(
    settings: ApiKeySettings = {},
    own: ApiKeyAuthSettings = {},
    before: (app: Express) => void = () => undefined,
  ): Promise<Bench & { server: TestServer }> {
    const parts = bench(settings);
    const app = express();
    before(app);
    app.use(apiKeyAuth(parts.service, own));
    app.get("/", (req: Request, res) => {
      res.json({
        principal: req.principal ?? null,
        presented: stateOf(req).presented ?? null,
        ran: stateOf(req).hasRun("api-key"),
      });
    });
    const server = await serve(app);
    open.push(server);
    return { ...parts, server };
  }

  it("lets a request without a key pass without a principal", async () => {
    const { server } = await start();
    const ways: Record<string, string>[] = [
      {},
      { authorization: "Basic eA==" },
      { authorization: "Bearer ey.some.jwt" },
      { authorization: "Bearer" },
    ];
    for (const headers of ways) {
      expect((await server.send("/", { headers })).json()).toEqual({ principal: null, presented: null, ran: true });
    }
  });

  it("authenticates a caller by X-API-Key and by Bearer, whether or not the key is cached", async () => {
    const { server, service } = await start();
    const { key, record } = await service.create(KEY);
    const principal = {
      id: "user-1",
      kind: "api-key",
      scopes: ["read"],
      roles: ["r"],
      credentialId: record.id,
      claims: {},
      authenticatedAt: record.createdAt,
      methods: [{ method: "key", at: record.createdAt }],
    };
    const ways: Record<string, string>[] = [
      { "x-api-key": key },
      { authorization: `Bearer ${key}` },
      { authorization: `bearer ${key}` },
      { "X-API-KEY": key, authorization: "Basic eA==" },
    ];
    for (const headers of ways)
      expect((await server.send("/", { headers })).json()).toEqual({ principal, presented: "api-key", ran: true });
    expect((await service.usage(record.id))?.usageCount).toBe(4);
  });

  it("shows the metadata of the key as claims, frozen and shared by its requests, and when the key was made", async () => {
    const { server, service } = await start();
    const { key, record } = await service.create({ ...KEY, metadata: { team: "red", nested: { list: [1] } } });
    const seen = await service.verify(key);
    if (!seen.ok) throw new Error(seen.reason);
    const { claims, methods } = seen.principal;
    expect(claims).toEqual({ team: "red", nested: { list: [1] } });
    for (const part of [claims, claims["nested"], methods, methods[0]]) expect(Object.isFrozen(part)).toBe(true);
    const again = await service.verify(key);
    expect(again.ok && again.principal).toBe(seen.principal);
    expect((await server.send("/", { headers: { "x-api-key": key } })).json()).toMatchObject({
      principal: { claims, authenticatedAt: record.createdAt, methods: [{ method: "key", at: record.createdAt }] },
    });
  });

  it("reads the key from the configured header", async () => {
    const { server, service } = await start({ headerName: "X-Acme-Key", prefix: "acme_live_" });
    const { key } = await service.create(KEY);
    expect((await server.send("/", { headers: { "x-acme-key": key } })).json()).toMatchObject({ presented: "api-key" });
    expect((await server.send("/", { headers: { "x-api-key": key } })).json()).toMatchObject({ presented: null });
    expect((await server.send("/", { headers: { authorization: `Bearer ${key}` } })).json()).toMatchObject({
      presented: "api-key",
    });
  });

  it("never reads the query or a cookie", async () => {
    const { server, service } = await start();
    const { key } = await service.create(KEY);
    const answer = await server.send(`/?api_key=${key}&X-API-Key=${key}&access_token=${key}`, {
      headers: { cookie: `X-API-Key=${key}` },
    });
    expect(answer.json()).toMatchObject({ principal: null });
  });

  it("answers unknown, wrong, revoked, expired, rotated, malformed and misplaced keys alike", async () => {
    const { server, service, clock, events } = await start({ failures: { limit: 1000 } });
    const [good, revoked, expired, rotated, bound] = await Promise.all([
      service.create(KEY),
      service.create(KEY),
      service.create({ ...KEY, expiresAt: clock.now() + 1 }),
      service.create(KEY),
      service.create({ ...KEY, allow: ["203.0.113.0/24"] }),
    ]);
    await service.revoke(revoked.record.id);
    await service.rotate(rotated.record.id);
    clock.advance(1);
    events.length = 0;
    const unknown = (await bench().service.create(KEY)).key;
    const keys = [
      unknown,
      forged(good.key, 1),
      revoked.key,
      expired.key,
      rotated.key,
      bound.key,
      "garbage",
      "",
      good.key.slice(0, -1),
      `${good.key.slice(0, -1)}\u00e9`,
    ];
    for (const key of keys) {
      const answer = await server.send("/", { headers: { "x-api-key": key } });
      expect([
        answer.status,
        answer.json(),
        answer.headers["www-authenticate"],
        answer.headers["cache-control"],
      ]).toEqual([401, PROBLEM, 'ApiKey realm="api"', "no-store"]);
    }
    expect(events.map(({ event, reason }) => `${event} ${reason}`)).toEqual(
      [
        "unknown",
        "mismatch",
        "revoked",
        "expired",
        "rotated",
        "address-not-allowed",
        "malformed",
        "malformed",
        "malformed",
        "malformed",
      ].map((reason) => `authn_login_fail ${reason}`),
    );
    expect(events[2]).toMatchObject({
      source: "api-key",
      subject: "user-1",
      credentialId: revoked.record.id,
      code: "invalid-credentials",
      status: 401,
      sourceIp: "127.0.0.1",
      path: "/",
    });
    expect(JSON.stringify(events)).not.toContain(good.key.slice(16, -6));
    const bearer = await server.send("/", { headers: { authorization: `Bearer ${revoked.key}` } });
    expect([bearer.status, bearer.headers["www-authenticate"]]).toEqual([
      401,
      'Bearer realm="api", error="invalid_token"',
    ]);
    expect((await server.send("/", { headers: { "x-api-key": good.key } })).status).toBe(200);
  });

  it("refuses two credentials before it looks either of them up", async () => {
    const { server, service, store, events } = await start();
    const { key } = await service.create(KEY);
    const other = (await service.create(KEY)).key;
    events.length = 0;
    const get = (lines: string): Promise<string> =>
      server.raw(`GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n${lines}\r\n\r\n`);
    const requests = [
      `X-API-Key: ${key}\r\nX-API-Key: ${key}`,
      `X-API-Key: ${key}\r\nx-api-key: ${other}`,
      `X-API-Key: ${key}, ${other}`,
      `X-API-Key:\r\nX-API-Key: ${key}`,
      `Authorization: Bearer ${key}\r\nAuthorization: Bearer ${key}`,
      `Authorization: Basic eA==\r\nAuthorization: Bearer ${key}`,
      `X-API-Key: ${key}\r\nAuthorization: Bearer ${other}`,
      `X-API-Key: ${key}\r\nAuthorization: Bearer ey.some.jwt`,
      `X-API-Key: garbage\r\nAuthorization: Bearer ${key}`,
    ];
    for (const lines of requests) {
      const answer = await get(lines);
      expect(answer).toMatch(/^HTTP\/1\.1 400 /);
      expect(answer).toContain('"code":"ambiguous-credentials"');
      expect(answer).toContain('WWW-Authenticate: Bearer realm="api", error="invalid_request"');
      expect(answer).not.toContain(key);
    }
    expect(store.gets).toBe(0);
    expect(events.map(({ event }) => event)).toEqual(requests.map(() => "input_validation_fail"));
    expect(await get(`X-API-Key: ${key}`)).toMatch(/^HTTP\/1\.1 200 /);
  });

  it("refuses a key inside a session, and leaves the session alone", async () => {
    const { server, service } = await start({}, {}, (app) => {
      app.use((req, _res, next) => {
        if (req.headers["x-session"] !== undefined)
          req.principal = createPrincipal({ id: "user-2", kind: "session", scopes: [], roles: [], credentialId: "s" });
        next();
      });
    });
    const { key } = await service.create(KEY);
    expect((await server.send("/", { headers: { "x-session": "1", "x-api-key": key } })).json()).toMatchObject({
      code: "ambiguous-credentials",
    });
    expect((await server.send("/", { headers: { "x-session": "1", authorization: `Bearer ${key}` } })).status).toBe(
      400,
    );
    expect((await server.send("/", { headers: { "x-session": "1" } })).json()).toMatchObject({
      principal: { id: "user-2" },
    });
  });

  it("refuses odd bytes and very long values without failing", async () => {
    const { server, service, store } = await start({ failures: { limit: 1000 } });
    const { key } = await service.create(KEY);
    const get = (value: Buffer | string, name = "X-API-Key"): Promise<string> =>
      server.raw(
        Buffer.concat([
          Buffer.from(`GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n${name}: `),
          Buffer.from(value),
          Buffer.from("\r\n\r\n"),
        ]),
      );
    const values = [
      Buffer.from([0xff, 0xfe, 0x80]),
      "mcp_\u{1f511}",
      "__proto__",
      "constructor",
      `mcp_${"A".repeat(12_000)}`,
      `\t${key}\tx`,
      `"${key}"`,
      `mcp_${key}`,
    ];
    for (const value of values) expect(await get(value)).toMatch(/^HTTP\/1\.1 401 /);
    for (const value of values.slice(4))
      expect(await get(`Bearer mcp_${value.toString()}`, "Authorization")).toMatch(/^HTTP\/1\.1 401 /);
    expect(store.gets).toBe(0);
    expect(await get(` ${key} `)).toMatch(/^HTTP\/1\.1 200 /); // white space round a value is not part of it (RFC 9110 section 5.5)
  });

  it("answers 429 with Retry-After to a key over its limit, and does not count it as a failed attempt", async () => {
    const { server, service, clock, events } = await start();
    const { key, record } = await service.create({ ...KEY, rateLimit: { limit: 1, windowSeconds: 60 } });
    expect((await server.send("/", { headers: { "x-api-key": key } })).status).toBe(200);
    clock.advance(20_000);
    const refused = await server.send("/", { headers: { "x-api-key": key } });
    expect([refused.status, refused.headers["retry-after"], refused.headers["www-authenticate"]]).toEqual([
      429,
      "40",
      undefined,
    ]);
    expect(events.at(-1)).toMatchObject({
      event: "excess_rate_limit_exceeded",
      reason: "rate-limited",
      credentialId: record.id,
    });
    clock.advance(40_000);
    expect((await server.send("/", { headers: { "x-api-key": key } })).status).toBe(200);
  });

  it("answers 429 to an address with too many failed attempts", async () => {
    const { server, service, events, clock } = await start({ failures: { limit: 2, windowSeconds: 30 } });
    const { key } = await service.create(KEY);
    const statuses: number[] = [];
    for (const tried of ["garbage", forged(key, 1), "garbage", key])
      statuses.push((await server.send("/", { headers: { "x-api-key": tried } })).status);
    expect(statuses).toEqual([401, 401, 429, 429]);
    expect(events.at(-1)).toMatchObject({
      event: "authn_login_fail_max",
      reason: "too-many-failures",
      code: "rate-limited",
    });
    expect((await server.send("/", { headers: { "x-api-key": "garbage" } })).headers["retry-after"]).toBe("30");
    expect((await server.send("/")).status).toBe(200);
    clock.advance(30_000);
    expect((await server.send("/", { headers: { "x-api-key": key } })).status).toBe(200);
  });

  it("answers 503 when the store is down, and still accepts cached keys", async () => {
    const { server, service, store, events } = await start();
    const [known, fresh] = [await service.create(KEY), await service.create(KEY)];
    await server.send("/", { headers: { "x-api-key": known.key } });
    store.failing = true;
    events.length = 0;
    for (let i = 0; i < 3; i += 1) {
      const answer = await server.send("/", { headers: { "x-api-key": fresh.key } });
      expect([answer.status, answer.headers["retry-after"], answer.json()]).toMatchObject([
        503,
        "1",
        { code: "store-unavailable" },
      ]);
    }
    expect(events.map(({ event }) => event)).toEqual(["portcullis_store_unavailable"]);
    expect((await server.send("/", { headers: { "x-api-key": known.key } })).status).toBe(200);
  });

  it("in report mode passes a request with an invalid key without a principal, and one with a key over its limit with a principal", async () => {
    const { server, service, events } = await start({}, { mode: "report" });
    const { key } = await service.create({ ...KEY, rateLimit: { limit: 1, windowSeconds: 60 } });
    expect((await server.send("/", { headers: { "x-api-key": forged(key, 1) } })).json()).toMatchObject({
      principal: null,
    });
    expect(events.at(-1)).toMatchObject({ event: "authn_login_fail", mode: "report" });
    expect((await server.send("/", { headers: { "x-api-key": `${key}, x` } })).json()).toMatchObject({
      principal: null,
    });
    await server.send("/", { headers: { "x-api-key": key } });
    expect((await server.send("/", { headers: { "x-api-key": key } })).json()).toMatchObject({
      principal: { id: "user-1" },
    });
    expect(events.at(-1)).toMatchObject({ event: "excess_rate_limit_exceeded", mode: "report" });
  });

  it("counts one use of a key when it is mounted twice", async () => {
    const parts = bench();
    const app = express();
    app.use(apiKeyAuth(parts.service), apiKeyAuth(parts.service));
    app.get("/", (req: Request, res) => void res.json(req.principal));
    const server = await serve(app);
    open.push(server);
    const { key, record } = await parts.service.create(KEY);
    await server.send("/", { headers: { "x-api-key": key } });
    expect((await server.send("/", { headers: { "x-api-key": key } })).json()).toMatchObject({ id: "user-1" });
    expect((await parts.service.usage(record.id))?.usageCount).toBe(2);
  });

  it("does not accept a key that only another service has verified", async () => {
    const [users, admins] = [bench(), bench()];
    const app = express();
    app.get(
      "/admin",
      apiKeyAuth(users.service),
      apiKeyAuth(admins.service),
      (req: Request, res) => void res.json(req.principal),
    );
    const server = await serve(app);
    open.push(server);
    const { key } = await users.service.create(KEY);
    for (const run of ["cold", "warm"])
      expect([run, (await server.send("/admin", { headers: { "x-api-key": key } })).status]).toEqual([run, 401]);
  });

  it("passes an error thrown after an asynchronous check to the app's error handling", async () => {
    const parts = bench();
    const layer = createApiKey(parts.service.options, parts.runtime, { service: parts.service });
    const app = express();
    app.use((req, res, next) => {
      const failing = (error?: unknown): void => {
        if (error === undefined) throw new Error("thrown behind the layer");
        next(error);
      };
      layer.run(req, res, failing, stateOf(req));
    });
    app.use(
      (error: Error, _req: Request, res: Response, _next: NextFunction) => void res.status(500).send(error.message),
    );
    const server = await serve(app);
    open.push(server);
    const { key } = await parts.service.create(KEY);
    expect((await server.send("/", { headers: { "x-api-key": key } })).text).toBe("thrown behind the layer");
  });

  it("calls next in the same tick when the key is cached or the request has none", async () => {
    const parts = bench();
    const { key } = await parts.service.create(KEY);
    await parts.service.verify(key);
    const layer = createApiKey(parts.service.options, parts.runtime, { service: parts.service });
    const inTick: boolean[] = [];
    const app = express();
    app.use((req, res, next) => {
      let called = false;
      layer.run(req, res, () => (called = true), stateOf(req));
      inTick.push(called);
      next();
    });
    app.get("/", (_req, res) => void res.end());
    const server = await serve(app);
    open.push(server);
    await server.send("/", { headers: { "x-api-key": key } });
    await server.send("/");
    expect(inTick).toEqual([true, true]);
  });
});
