import type { Express, Request } from "express";
import { afterEach, describe, expect, it, vi } from "vitest";
import { createPrincipal, type Principal } from "../../src/core/principal.js";
import { apiKeyAuth } from "../../src/api-key/middleware.js";
import { apiKeyRoutes } from "../../src/api-key/routes.js";
import type { ApiKeyRecord } from "../../src/api-key/keys/records.js";
import type { ApiKeySettings } from "../../src/api-key/settings.js";
import { MemoryApiKeyStore } from "../../src/stores/memory/api-key-store.js";
import { EXPRESS } from "../support/express-versions.js";
import { ManualClock } from "../support/manual-clock.js";
import { type Answer, serve, type TestServer } from "../support/serve.js";
import { type Bench, bench } from "./support.js";

interface Created {
  key: string;
  record: ApiKeyRecord;
}

describe.each(EXPRESS)("API key routes on $name", ({ express }) => {
  const open: TestServer[] = [];
  afterEach(async () => {
    for (const server of open.splice(0)) await server.close();
  });

  type Call = (
    path: string,
    options?: {
      method?: string;
      as?: Partial<Principal> | undefined;
      key?: string;
      body?: unknown;
      headers?: Record<string, string>;
      text?: string;
    },
  ) => Promise<Answer>;

  /** An app whose "session" is whoever the x-test-principal header says. */
  async function start(
    before: (app: Express) => void = () => undefined,
    settings: ApiKeySettings = {},
  ): Promise<Bench & { call: Call; server: TestServer }> {
    const parts = bench({ failures: { limit: 1000 }, ...settings });
    const app = express();
    app.disable("x-powered-by");
    app.use((req: Request, _res, next) => {
      const who = req.headers["x-test-principal"];
      if (typeof who === "string")
        req.principal = createPrincipal({
          id: "?",
          kind: "session",
          scopes: [],
          roles: [],
          credentialId: "s",
          ...(JSON.parse(who) as Partial<Principal>),
        });
      next();
    });
    before(app);
    app.use(apiKeyAuth(parts.service));
    app.use("/keys", apiKeyRoutes(parts.service, {}, parts.runtime));
    const server = await serve(app);
    open.push(server);
    const call: Call = (path, { method = "GET", as, key, body, headers = {}, text } = {}) =>
      server.send(`/keys${path}`, {
        method,
        headers: {
          ...(as === undefined ? {} : { "x-test-principal": JSON.stringify(as) }),
          ...(key === undefined ? {} : { "x-api-key": key }),
          ...(body === undefined && text === undefined ? {} : { "content-type": "application/json" }),
          ...headers,
        },
        ...(body === undefined && text === undefined ? {} : { body: text ?? JSON.stringify(body) }),
      });
    return { ...parts, call, server };
  }

  const alice = { id: "alice", scopes: ["read", "orders:*"], roles: ["editor"] };
  const mallory = { id: "mallory", scopes: ["read"] };

  it("create, show, list, rotate and revoke a key of the caller", async () => {
    const { call, service, events } = await start();
    const made = await call("/", {
      method: "POST",
      as: alice,
      body: { name: "ci", scopes: ["orders:write"], metadata: { a: 1 }, expiresAt: "2030-01-31T12:00:00Z" },
    });
    expect([made.status, made.headers["content-type"], made.headers["cache-control"]]).toEqual([
      201,
      "application/json; charset=utf-8",
      "no-store",
    ]);
    const { key, record } = made.json() as Created;
    expect(record).toMatchObject({
      ownerId: "alice",
      name: "ci",
      scopes: ["orders:write"],
      roles: [],
      expiresAt: Date.UTC(2030, 0, 31, 12),
    });
    expect(record).not.toHaveProperty("hash");
    expect(await service.verify(key)).toMatchObject({ ok: true });

    const shown = await call(`/${record.id}`, { as: alice });
    expect([shown.status, shown.headers["cache-control"], shown.json()]).toEqual([
      200,
      "no-store",
      { record: { ...record, usageCount: 1, lastUsedAt: expect.any(Number) } },
    ]);
    expect(shown.text).not.toContain(key.slice(16));
    expect((await call("/", { as: alice })).json()).toMatchObject({ records: [{ id: record.id }], next: null });

    const rotated = await call(`/${record.id}/rotate`, { method: "POST", as: alice, body: { graceSeconds: 60 } });
    expect(rotated.status).toBe(201);
    const fresh = rotated.json() as Created;
    expect(fresh.record).toMatchObject({ ownerId: "alice", name: "ci", scopes: ["orders:write"], metadata: { a: 1 } });
    expect([await service.verify(key), await service.verify(fresh.key)]).toMatchObject([{ ok: true }, { ok: true }]);
    const again = await call(`/${record.id}/rotate`, { method: "POST", as: alice });
    expect([again.status, again.json()]).toMatchObject([
      409,
      { code: "conflict", detail: "The API key has already been rotated." },
    ]);

    const gone = await call(`/${fresh.record.id}`, { method: "DELETE", as: alice });
    expect([gone.status, gone.text, gone.headers["cache-control"]]).toEqual([204, "", "no-store"]);
    expect(await service.verify(fresh.key)).toMatchObject({ ok: false, reason: "revoked" });
    expect((await call(`/${fresh.record.id}`, { method: "DELETE", as: alice })).status).toBe(404);
    expect((await call(`/${fresh.record.id}`, { as: alice })).json()).toMatchObject({
      record: { revokedReason: "revoked by its owner" },
    });

    const changes = events.filter(({ source }) => source === "api-key");
    expect(changes.map(({ event, reason }) => `${event} ${reason}`)).toEqual([
      "authn_token_created created",
      "authn_token_created rotated",
      "authn_token_revoked rotated-with-grace",
      "authn_token_revoked revoked",
    ]);
    for (const event of changes) expect(event).toMatchObject({ subject: "alice", sourceIp: "127.0.0.1" });
    expect(JSON.stringify(events)).not.toContain(key.slice(16, -6));
  });

  it("end the old key at once when it is rotated without a body", async () => {
    const { call, service } = await start();
    const { key, record } = await service.create({ ownerId: "alice", name: "x" });
    expect(
      (await call(`/${record.id}/rotate`, { method: "POST", as: alice, headers: { "content-length": "0" } })).status,
    ).toBe(201);
    expect(await service.verify(key)).toMatchObject({ ok: false, reason: "rotated" });
  });

  it("refuse a request without an authenticated caller", async () => {
    const { call } = await start();
    for (const [method, path] of [
      ["POST", "/"],
      ["GET", "/"],
      ["GET", "/AAAAAAAAAAAA"],
      ["POST", "/AAAAAAAAAAAA/rotate"],
      ["DELETE", "/AAAAAAAAAAAA"],
    ] as const) {
      const answer = await call(path, { method, ...(method === "POST" ? { body: { name: "x" } } : {}) });
      expect([
        answer.status,
        answer.json(),
        answer.headers["www-authenticate"],
        answer.headers["cache-control"],
      ]).toMatchObject([401, { code: "missing-credentials" }, 'Bearer realm="api", ApiKey realm="api"', "no-store"]);
    }
  });

  it("answer alike for another owner's key and for a key that does not exist", async () => {
    const { call, service, store } = await start();
    const { key, record } = await service.create({ ownerId: "alice", name: "x" });
    const before = await store.get(record.id);
    for (const [method, path] of [
      ["GET", ""],
      ["POST", "/rotate"],
      ["DELETE", ""],
    ] as const) {
      const answers = [];
      for (const id of [record.id, "AAAAAAAAAAAA", "not-an-id", "__proto__", "%00", "..%2f"])
        answers.push(await call(`/${id}${path}`, { method, as: mallory }));
      for (const answer of answers) {
        expect([answer.status, answer.text]).toEqual([404, answers[0]?.text]);
        expect(answer.headers).toEqual({ ...answers[0]?.headers, date: answer.headers.date });
      }
    }
    expect(await store.get(record.id)).toEqual(before);
    expect(await service.verify(key)).toMatchObject({ ok: true });
    expect((await call("/", { as: mallory })).json()).toEqual({ records: [], next: null });
    expect((await call(`/?after=${record.id}`, { as: mallory })).json()).toEqual({ records: [], next: null });
    expect((await call(`/${record.id}`, { as: alice })).status).toBe(200);
  });

  it("refuse body members that a caller may not set", async () => {
    const { call, store } = await start();
    const texts = [
      ...["ownerId", "id", "hash", "createdAt", "revokedAt", "usageCount", "userId", "secretValue"].map((field) =>
        JSON.stringify({ name: "x", [field]: "mallory" }),
      ),
      '{"name":"x","__proto__":{"ownerId":"mallory"}}',
      '{"name":"x","constructor":{"prototype":{"ownerId":"mallory"}}}',
      '{"name":"x","metadata":{"__proto__":{"a":1}}}',
      '{"name":"x","rateLimit":{"limit":1,"windowSeconds":1,"extra":"mallory"}}',
    ];
    for (const text of texts) {
      const answer = await call("/", { method: "POST", as: alice, text });
      expect([text, answer.status, answer.json()]).toMatchObject([text, 400, { code: "invalid-request" }]);
      expect(answer.text).not.toMatch(/mallory|secretValue/);
    }
    expect(await store.list("alice", { limit: 10 })).toEqual([]);
    expect(await store.list("mallory", { limit: 10 })).toEqual([]);
    expect((await call("/", { method: "POST", as: alice, text: '{"name":"x"}' })).status).toBe(201);
  });

  it("list every invalid member of the body by its path", async () => {
    const { call } = await start();
    const answer = await call("/", {
      method: "POST",
      as: alice,
      body: { name: "", scopes: ["read", "<script>"], expiresAt: "yesterday" },
    });
    expect(answer.json()).toMatchObject({
      detail:
        "The request does not have the expected format. name: Must not be empty; scopes[1]: Must be words of letters, digits, '.', '_' or '-', joined by colons, and optionally ':*' at the end; " +
        "expiresAt: Must be a time: a date with time and zone (2030-01-31T12:00:00Z), milliseconds since the epoch, or a Date.",
    });
    expect(answer.text).not.toMatch(/script|yesterday/);
    expect((await call("/", { method: "POST", as: alice, body: { name: "x", expiresAt: 1 } })).json()).toMatchObject({
      detail: expect.stringContaining("expiresAt: Must be in the future"),
    });
    const { json } = await call("/AAAAAAAAAAAA/rotate", { method: "POST", as: alice, body: { graceSeconds: -1 } });
    expect(json()).toMatchObject({ code: "not-found" });
  });

  it("report an unknown or ended id as a bad request, and another owner's id as an attack", async () => {
    const { call, events, service } = await start();
    const mine = await service.create({ ownerId: "alice", name: "mine" });
    const theirs = await service.create({ ownerId: "bob", name: "theirs" });
    const ask = async (method: string, path: string) => {
      events.length = 0;
      const answer = await call(path, { method, as: alice, ...(method === "POST" ? { body: {} } : {}) });
      return [answer.status, ...events.map(({ event, level, reason }) => `${event} ${level} ${reason}`)];
    };
    expect((await call(`/${mine.record.id}`, { method: "DELETE", as: alice })).status).toBe(204);
    for (const path of ["/AAAAAAAAAAAA", "/no-such-id", `/${mine.record.id.slice(0, -1)}`])
      for (const [method, suffix] of [
        ["DELETE", ""],
        ["GET", ""],
        ["POST", "/rotate"],
      ] as const)
        expect(await ask(method, path + suffix)).toEqual([404, "input_validation_fail WARN unknown"]);
    expect(await ask("DELETE", `/${mine.record.id}`)).toEqual([404, "input_validation_fail WARN unknown"]);
    for (const [method, suffix] of [
      ["DELETE", ""],
      ["GET", ""],
      ["POST", "/rotate"],
    ] as const)
      expect(await ask(method, `/${theirs.record.id}${suffix}`)).toEqual([404, "authz_fail CRITICAL foreign"]);
  });

  it("grant no scope, role or limit that the caller does not have", async () => {
    const { call, service, store } = await start();
    for (const body of [
      { scopes: ["admin"] },
      { scopes: ["read:*"] },
      { scopes: ["read", "orders"] },
      { roles: ["admin"] },
    ]) {
      const answer = await call("/", { method: "POST", as: alice, body: { name: "x", ...body } });
      expect([answer.status, answer.json()]).toMatchObject([403, { code: "insufficient-scope" }]);
    }
    expect(await store.list("alice", { limit: 10 })).toEqual([]);
    // Rotating gives out a working key too: a lesser credential of the same owner must not get a greater one that way.
    const { key, record } = await service.create({ ownerId: "alice", name: "root", scopes: ["admin"] });
    expect((await call(`/${record.id}/rotate`, { method: "POST", as: alice })).status).toBe(403);
    expect(await service.verify(key)).toMatchObject({ ok: true });
    expect((await call(`/${record.id}`, { method: "DELETE", as: alice })).status).toBe(204);
    expect(
      (
        await call("/", {
          method: "POST",
          as: alice,
          body: { name: "x", scopes: ["read", "orders:write", "orders:*"], roles: ["editor"] },
        })
      ).status,
    ).toBe(201);
  });

  it("let an API key manage keys only with api-keys:manage, and create no key that outlives it or works elsewhere", async () => {
    const { call, service, clock } = await start();
    const plain = await service.create({ ownerId: "alice", name: "plain", scopes: ["read"] });
    for (const [method, path] of [
      ["POST", "/"],
      ["GET", "/"],
      ["GET", `/${plain.record.id}`],
      ["POST", `/${plain.record.id}/rotate`],
      ["DELETE", `/${plain.record.id}`],
    ] as const) {
      const answer = await call(path, {
        method,
        key: plain.key,
        ...(method === "POST" ? { body: path === "/" ? { name: "x" } : {} } : {}),
      });
      expect([answer.status, answer.headers["www-authenticate"]]).toEqual([
        403,
        'Bearer realm="api", error="insufficient_scope", scope="api-keys:manage"',
      ]);
    }
    const expiresAt = clock.now() + 60_000;
    const manager = await service.create({
      ownerId: "alice",
      name: "m",
      scopes: ["read", "api-keys:manage"],
      expiresAt,
      allow: ["127.0.0.0/8", "::1"],
      rateLimit: { limit: 100, windowSeconds: 60 },
    });
    const minted = (
      await call("/", { method: "POST", key: manager.key, body: { name: "x", scopes: ["read"] } })
    ).json() as Created;
    expect(minted.record).toMatchObject({
      ownerId: "alice",
      expiresAt,
      allow: ["127.0.0.0/8", "::1"],
      rateLimit: { limit: 100, windowSeconds: 60 },
    });
    expect(
      (await call("/", { method: "POST", key: manager.key, body: { name: "x", expiresAt: expiresAt + 1 } })).status,
    ).toBe(403);
    expect(
      (await call("/", { method: "POST", key: manager.key, body: { name: "x", allow: ["10.0.0.1"] } })).status,
    ).toBe(403);
    expect(
      (
        await call("/", {
          method: "POST",
          key: manager.key,
          body: { name: "x", allow: ["127.0.0.1"], expiresAt: expiresAt - 1 },
        })
      ).status,
    ).toBe(201);
    expect(
      (await call("/", { method: "POST", key: manager.key, body: { name: "x", scopes: ["orders:write"] } })).status,
    ).toBe(403);
    expect((await call(`/${plain.record.id}/rotate`, { method: "POST", key: manager.key })).status).toBe(403); // plain has no expiry
    expect((await call(`/${manager.record.id}/rotate`, { method: "POST", key: manager.key })).status).toBe(201);
  });

  it("let no key be created by an API key that was revoked elsewhere, even while it is cached here", async () => {
    const { call, service, store, clock } = await start();
    const manager = await service.create({ ownerId: "alice", name: "m", scopes: ["api-keys:manage"] });
    expect((await call("/", { key: manager.key })).status).toBe(200);
    await store.revoke(manager.record.id, clock.now(), "elsewhere");
    expect((await call("/", { method: "POST", key: manager.key, body: { name: "x" } })).json()).toMatchObject({
      code: "invalid-credentials",
    });
    expect(await store.list("alice", { limit: 10 })).toHaveLength(1);
  });

  it("list keys in pages", async () => {
    const { call, service, clock } = await start();
    const ids: string[] = [];
    for (let i = 0; i < 3; i += 1) {
      ids.unshift((await service.create({ ownerId: "alice", name: `k${i}` })).record.id);
      clock.advance(1);
    }
    const first = (await call("/?limit=2", { as: alice })).json() as { records: ApiKeyRecord[]; next: string };
    expect([first.records.map(({ id }) => id), first.next]).toEqual([ids.slice(0, 2), ids[1]]);
    const second = (await call(`/?limit=2&after=${first.next}`, { as: alice })).json() as {
      records: ApiKeyRecord[];
      next: string | null;
    };
    expect([second.records.map(({ id }) => id), second.next]).toEqual([ids.slice(2), null]);
    for (const query of [
      "?limit=0",
      "?limit=101",
      "?limit=1e1",
      "?limit=2&limit=3",
      "?after=x",
      "?owner=mallory",
      "?__proto__=1",
    ]) {
      expect((await call(`/${query}`, { as: alice })).json()).toMatchObject({ code: "invalid-request" });
    }
  });

  const bodies: { name: string; headers?: Record<string, string>; text: string; status: number; code: string }[] = [
    { name: "broken JSON", text: '{"name":', status: 400, code: "invalid-request" },
    { name: "a JSON string", text: '"name"', status: 400, code: "invalid-request" },
    { name: "a JSON list", text: "[]", status: 400, code: "invalid-request" },
    { name: "null", text: "null", status: 400, code: "invalid-request" },
    {
      name: "a form",
      headers: { "content-type": "application/x-www-form-urlencoded" },
      text: "name=x",
      status: 415,
      code: "unsupported-media-type",
    },
    {
      name: "plain text",
      headers: { "content-type": "text/plain" },
      text: '{"name":"x"}',
      status: 415,
      code: "unsupported-media-type",
    },
    {
      name: "JSON in the wrong charset",
      headers: { "content-type": "application/json; charset=latin1" },
      text: '{"name":"x"}',
      status: 415,
      code: "unsupported-media-type",
    },
    {
      name: "compressed JSON",
      headers: { "content-encoding": "gzip" },
      text: "xxxx",
      status: 415,
      code: "unsupported-media-type",
    },
    { name: "too much", text: JSON.stringify({ name: "x".repeat(20_000) }), status: 413, code: "payload-too-large" },
    {
      name: "too deep",
      text: `{"name":"x","metadata":${'{"a":'.repeat(2000)}1${"}".repeat(2000)}}`,
      status: 400,
      code: "invalid-request",
    },
  ];
  it.each(bodies)("refuse $name with $status", async ({ headers, text, status, code }) => {
    const { call } = await start();
    const answer = await call("/", { method: "POST", as: alice, text, ...(headers === undefined ? {} : { headers }) });
    expect([
      answer.status,
      answer.json(),
      answer.headers["content-type"],
      answer.headers["cache-control"],
    ]).toMatchObject([status, { code }, "application/problem+json; charset=utf-8", "no-store"]);
  });

  it("refuse text that no store can hold before the store is asked, so that it is not counted as an outage", async () => {
    const { call, events } = await start();
    const answer = await call("/", { method: "POST", as: alice, text: '{"name":"\\ud800"}' });
    expect([answer.status, answer.json()]).toMatchObject([400, { code: "invalid-request" }]);
    expect(
      (await call("/", { method: "POST", as: alice, text: '{"name":"x","metadata":{"\\ud800":"\\u0000"}}' })).status,
    ).toBe(201);
    expect(events.filter(({ event }) => event.startsWith("portcullis_store"))).toEqual([]);
  });

  it("refuse an id with invalid percent-encoding, without repeating it", async () => {
    const { call } = await start();
    for (const [method, path] of [
      ["GET", "/%ZZsent"],
      ["DELETE", "/%ZZsent"],
      ["POST", "/%ZZsent/rotate"],
    ] as const) {
      const answer = await call(path, { method, as: alice });
      expect([answer.status, answer.json(), answer.headers["cache-control"]]).toMatchObject([
        400,
        { code: "invalid-request" },
        "no-store",
      ]);
      expect(answer.text).not.toContain("sent");
    }
  });

  it("let a key with a limit create and rotate no key with a looser limit", async () => {
    const { call, service } = await start();
    const rateLimit = { limit: 30, windowSeconds: 60 };
    const bound = await service.create({ ownerId: "alice", name: "bound", scopes: ["api-keys:manage"], rateLimit });
    const free = await service.create({ ownerId: "alice", name: "free" });
    const make = (limit: unknown): Promise<Answer> =>
      call("/", { method: "POST", key: bound.key, body: { name: "x", rateLimit: limit } });
    expect((await make({ limit: 100_000, windowSeconds: 1 })).status).toBe(403);
    expect((await make({ limit: 31, windowSeconds: 86_400 })).status).toBe(403);
    expect((await call(`/${free.record.id}/rotate`, { method: "POST", key: bound.key })).status).toBe(403);
    expect((await make({ limit: 1, windowSeconds: 60 })).status).toBe(201);
    expect(((await make(null)).json() as Created).record.rateLimit).toEqual(rateLimit);
  });

  it("refuse a chunked body that is too large, and a missing body", async () => {
    const { call } = await start();
    const text = JSON.stringify({ name: "x".repeat(20_000) });
    const chunked = await call("/", {
      method: "POST",
      as: alice,
      headers: { "content-type": "application/json", "transfer-encoding": "chunked" },
    });
    expect(chunked.json()).toMatchObject({ code: "invalid-request" });
    const { server } = await start();
    const raw = await server.raw(
      `POST /keys HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Test-Principal: {"id":"alice"}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n${text.length.toString(16)}\r\n${text}\r\n0\r\n\r\n`,
    );
    expect(raw).toMatch(/^HTTP\/1\.1 413 /);
    expect((await call("/", { method: "POST", as: alice })).json()).toMatchObject({ code: "invalid-request" });
  });

  it("accept a body that the app has parsed, unless it is a form", async () => {
    const { call } = await start((app) => {
      app.use(express.json(), express.urlencoded({ extended: true }));
    });
    expect((await call("/", { method: "POST", as: alice, body: { name: "x" } })).status).toBe(201);
    expect((await call("/", { method: "POST", as: alice, body: { name: "x", ownerId: "mallory" } })).status).toBe(400);
    expect((await call("/", { method: "POST", as: alice, body: { name: "x".repeat(20_000) } })).status).toBe(413);
    expect(
      (
        await call("/", {
          method: "POST",
          as: alice,
          text: "name=x",
          headers: { "content-type": "application/x-www-form-urlencoded" },
        })
      ).status,
    ).toBe(415);
    const { record } = (await call("/", { method: "POST", as: alice, body: { name: "y" } })).json() as Created;
    expect((await call(`/${record.id}/rotate`, { method: "POST", as: alice })).status).toBe(201);
  });

  it("answer 409 to an owner with too many keys, 503 to all when the store is full, and revoke at any time", async () => {
    const { call, events } = await start(undefined, {
      store: new MemoryApiKeyStore({ maxKeys: 20, clock: new ManualClock() }),
    });
    const make = (as: Partial<Principal>) => call("/", { method: "POST", as, body: { name: "n" } });
    const made: Created[] = [];
    for (let n = 0; n < 10; n += 1) made.push((await make(alice)).json() as Created);
    const id = made[3]?.record.id ?? "";
    for (let n = 0; n < 10; n += 1) {
      const refused = await make(alice);
      expect([refused.status, refused.json()]).toMatchObject([
        409,
        { code: "conflict", detail: "The owner has reached the maximum number of API keys; revoke one first." },
      ]);
    }
    expect((await call(`/${id}/rotate`, { method: "POST", as: alice, body: { graceSeconds: 60 } })).status).toBe(409);
    for (let n = 0; n < 10; n += 1) expect((await make(mallory)).status).toBe(201);
    for (let n = 0; n < 10; n += 1) {
      const refused = await make({ id: "bob", scopes: [], roles: [] });
      expect([refused.status, refused.json(), refused.headers["retry-after"]]).toMatchObject([
        503,
        { code: "store-unavailable" },
        "1",
      ]);
    }
    expect((await call(`/${id}`, { method: "DELETE", as: alice })).status).toBe(204);
    expect((await make(alice)).status).toBe(201);
    const announced = events.filter(({ event }) => event.startsWith("portcullis_"));
    expect(announced.map(({ event, source, reason }) => [event, source, reason])).toEqual([
      ["portcullis_overload", "api-keys-writes", "store"],
    ]);
  });

  it.each(["before", "after"])(
    "answer 204 to a DELETE that was answered 503 %s the store had done it, and 404 from then on",
    async (when) => {
      const { call, store, events } = await start();
      const { record } = (await call("/", { method: "POST", as: alice, body: { name: "n" } })).json() as Created;
      const revoke = store.revoke.bind(store);
      vi.spyOn(store, "revoke").mockImplementationOnce(async (...args) => {
        if (when === "after") await revoke(...args);
        throw new Error("connection lost");
      });
      const remove = (): Promise<Answer> => call(`/${record.id}`, { method: "DELETE", as: alice });
      const refused = await remove();
      expect([refused.status, refused.headers["retry-after"], refused.json()]).toMatchObject([
        503,
        "1",
        { code: "store-unavailable" },
      ]);
      expect([(await remove()).status, (await remove()).status]).toEqual([204, 404]);
      expect(events.filter(({ event }) => event === "authn_token_revoked")).toMatchObject([
        { credentialId: record.id, subject: "alice", method: "DELETE" },
      ]);
    },
  );

  it("answer 503 while the store is down, and pass unknown paths on to the app", async () => {
    const { call, store } = await start();
    expect((await call("/", { method: "PUT", as: alice })).status).toBe(404);
    store.failing = true;
    const answer = await call("/AAAAAAAAAAAA", { as: alice });
    expect([answer.status, answer.json(), answer.headers["retry-after"]]).toMatchObject([
      503,
      { code: "store-unavailable" },
      "1",
    ]);
  });
});
