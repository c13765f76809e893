import express, { type Request } from "express";
import { afterEach, describe, expect, it } from "vitest";
import { makerOf } from "../../src/api-key/decide.js";
import { apiKeyAuth } from "../../src/api-key/middleware.js";
import type { ApiKeyRecord } from "../../src/api-key/keys/records.js";
import { apiKeyRoutes } from "../../src/api-key/routes.js";
import type { KeyChanges, KeyNotice } from "../../src/stores/revocations/changes.js";
import { ApiKeyService } from "../../src/api-key/service.js";
import { createPrincipal } from "../../src/core/principal.js";
import { noteTokenEnd } from "../../src/core/token-expiry.js";
import { MemoryApiKeyStore } from "../../src/stores/memory/api-key-store.js";
import { sampleKey } from "../../src/testing/samples.js";
import { type Answer, serve, type TestServer } from "../support/serve.js";
import { type Bench, bench, SECRET } from "./support.js";

interface Made {
  readonly key: string;
  readonly record: ApiKeyRecord;
  readonly notice?: string;
}

const HOUR_MS = 3_600_000;
const MANAGES = ["read", "api-keys:manage"];

describe("keys and the keys that created them", () => {
  const open: TestServer[] = [];
  afterEach(async () => {
    for (const server of open.splice(0)) await server.close();
  });

  type Call = (method: string, path: string, by: { key?: string; scopes?: string[] }, body?: object) => Promise<Answer>;

  /** An app whose token holds the scopes that a header names, for an hour. */
  async function start(maxLifetimeDays?: number): Promise<Bench & { call: Call }> {
    const parts = bench({ failures: { limit: 1000 } });
    const app = express();
    app.use((req: Request, _res, next) => {
      const scopes = req.get("x-test-scopes");
      if (scopes !== undefined) {
        req.principal = createPrincipal({
          id: "ada",
          kind: "jwt",
          scopes: scopes.split(" "),
          roles: [],
          credentialId: "jti",
        });
        noteTokenEnd(req.principal, parts.clock.now() + HOUR_MS);
      }
      next();
    });
    app.use(
      apiKeyAuth(parts.service),
      apiKeyRoutes(parts.service, maxLifetimeDays === undefined ? {} : { maxLifetimeDays }),
    );
    const server = await serve(app);
    open.push(server);
    const call: Call = (method, path, { key, scopes }, body) =>
      server.send(path, {
        method,
        headers: {
          ...(key && { "x-api-key": key }),
          ...(scopes && { "x-test-scopes": scopes.join(" ") }),
          ...(body && { "content-type": "application/json" }),
        },
        ...(body && { body: JSON.stringify(body) }),
      });
    return { ...parts, call };
  }

  it("a token manages keys only with the scope for it", async () => {
    const { call } = await start();
    expect((await call("GET", "/", { scopes: ["read"] })).status).toBe(403);
    expect((await call("POST", "/", { scopes: ["read"] }, { name: "k" })).status).toBe(403);
    expect((await call("GET", "/", { scopes: MANAGES })).status).toBe(200);
  });

  it.each([
    { days: undefined, lifetime: HOUR_MS },
    { days: 3, lifetime: 3 * 24 * HOUR_MS },
  ])(
    "a key created with a token expires with the token, or after maxLifetimeDays ($days)",
    async ({ days, lifetime }) => {
      const { call, clock } = await start(days);
      const end = clock.now() + lifetime;
      const unbound = (await call("POST", "/", { scopes: MANAGES }, { name: "k" })).json() as Made;
      expect(unbound.record).toMatchObject({ expiresAt: end, madeBy: "jti" });
      expect(unbound).not.toHaveProperty("notice");
      const late = (
        await call("POST", "/", { scopes: MANAGES }, { name: "k", expiresAt: new Date(end + 1000).toISOString() })
      ).json() as Made;
      expect([late.record.expiresAt, typeof late.notice]).toEqual([end, "string"]);
    },
  );

  it("a key ends with the key that created it, at once in this process, and its record gives that reason", async () => {
    const { call, service } = await start();
    const maker = await service.create({ ownerId: "ada", name: "ci", scopes: MANAGES });
    const child = (await call("POST", "/", { key: maker.key }, { name: "c", scopes: MANAGES })).json() as Made;
    expect(child.record).toMatchObject({ madeBy: maker.record.id, path: [maker.record.id] });
    expect((await service.verify(child.key)).ok).toBe(true);
    await service.revoke(maker.record.id);
    expect(await service.verify(child.key)).toMatchObject({ ok: false, reason: "revoked" });
  });

  it("a rotated key keeps the keys it created; DELETE with descendants ends all of them", async () => {
    const { call, service } = await start();
    const maker = await service.create({ ownerId: "ada", name: "ci", scopes: MANAGES });
    const child = (await call("POST", "/", { key: maker.key }, { name: "c", scopes: ["read"] })).json() as Made;
    const next = await service.rotate(maker.record.id);
    for (const { key } of [child, next]) expect((await service.verify(key)).ok).toBe(true);
    expect((await call("DELETE", `/${maker.record.id}?descendants=perhaps`, { scopes: MANAGES })).status).toBe(400);
    expect((await call("DELETE", `/${maker.record.id}?descendants=true`, { scopes: MANAGES })).status).toBe(204);
    for (const { key } of [child, next]) expect((await service.verify(key)).ok).toBe(false);
  });

  it.each([false, true])(
    "a key in its grace period ends with its successor, even where it is cached (descendants: %s)",
    async (descendants) => {
      const told = new Set<(change: KeyNotice | undefined) => void>();
      const changes: KeyChanges = {
        isCurrent: true,
        onKeyChange: (listener) => {
          told.add(listener);
          return () => told.delete(listener);
        },
        publish: async (change) => told.forEach((listener) => listener(change)),
      };
      const { service, store, clock } = bench({}, { changes });
      const elsewhere = new ApiKeyService({ hash: "hmac-sha256", secret: SECRET, store }, { changes, clock });
      const old = await service.create({ ownerId: "ada", name: "ci", scopes: MANAGES });
      const next = await service.rotate(old.record.id, { graceSeconds: 86_400 });
      for (const process of [service, elsewhere]) expect((await process.verify(old.key)).ok).toBe(true);
      const other = await service.create({ ownerId: "ada", name: "child" }, {}, makerOf(old.record));
      expect((await service.verify(other.key)).ok).toBe(true);
      await service.revoke(next.record.id, { descendants });
      for (const process of [service, elsewhere]) {
        for (const { key } of [old, next, other])
          expect(await process.verify(key)).toMatchObject({ ok: false, reason: "revoked" });
      }
      await expect(service.create({ ownerId: "ada", name: "late" }, {}, makerOf(old.record))).rejects.toMatchObject({
        code: "revoked",
      });
      await expect(service.rotate(old.record.id)).rejects.toMatchObject({ code: "revoked" });
      expect((await service.list("ada")).map(({ name }) => name)).not.toContain("late");
    },
  );

  it("a key that ends while it creates another is refused, and no key is created", async () => {
    const { call, service, store } = await start();
    const maker = await service.create({ ownerId: "ada", name: "ci", scopes: MANAGES });
    expect((await call("POST", "/", { key: maker.key }, { name: "in time" })).status).toBe(201);
    store.afterRead = async () => {
      store.afterRead = () => Promise.resolve();
      await store.revoke(maker.record.id, 5, "leaked");
    };
    const answer = await call("POST", "/", { key: maker.key }, { name: "late" });
    expect([answer.status, (answer.json() as { code: string }).code]).toEqual([401, "invalid-credentials"]);
    expect((await service.list("ada")).map(({ name }) => name).sort()).toEqual(["ci", "in time"]);
  });

  it("a key, its successor and its children share one count, and each compares its own limit with it", async () => {
    const { call, service } = await start();
    const maker = await service.create({
      ownerId: "ada",
      name: "ci",
      scopes: MANAGES,
      rateLimit: { limit: 6, windowSeconds: 3600 },
    });
    const child = (
      await call(
        "POST",
        "/",
        { key: maker.key },
        { name: "c", scopes: ["read"], rateLimit: { limit: 3, windowSeconds: 3600 } },
      )
    ).json() as Made;
    expect((await service.verify(maker.key)).ok).toBe(true);
    expect((await service.verify(child.key)).ok).toBe(true);
    expect(await service.verify(child.key)).toMatchObject({ ok: false, reason: "rate-limited" });
    const next = await service.rotate(maker.record.id);
    for (let left = 3; left > 0; left -= 1) expect((await service.verify(next.key)).ok).toBe(true);
    expect(await service.verify(next.key)).toMatchObject({ ok: false, reason: "rate-limited" });
  });

  it("a key that rotates another key of its owner becomes the parent of the result", async () => {
    const { call, service } = await start();
    const rateLimit = { limit: 3, windowSeconds: 3600 };
    const one = await service.create({ ownerId: "ada", name: "one", scopes: MANAGES, rateLimit });
    const [other, free] = [
      await service.create({ ownerId: "ada", name: "other", scopes: ["read"], rateLimit }),
      await service.create({ ownerId: "ada", name: "free", scopes: ["read"], rateLimit }),
    ];
    const taken = (await call("POST", `/${other.record.id}/rotate`, { key: one.key })).json() as Made; // the first use of `one`
    expect(taken.record).toMatchObject({
      madeBy: one.record.id,
      lineage: one.record.id,
      firstId: other.record.id,
      path: [one.record.id],
    });
    for (const ok of [true, true, false]) expect((await service.verify(taken.key)).ok).toBe(ok);
    expect(await service.verify(one.key)).toMatchObject({ ok: false, reason: "rate-limited" });
    await service.revoke(one.record.id);
    expect([(await service.verify(taken.key)).ok, (await service.verify(free.key)).ok]).toEqual([false, true]);
  });

  it("a key that rotates itself or its own child adds no generation", async () => {
    const { call, service } = await start();
    const one = await service.create({ ownerId: "ada", name: "one", scopes: MANAGES });
    const child = (await call("POST", "/", { key: one.key }, { name: "c", scopes: ["read"] })).json() as Made;
    const rotate = async (id: string) =>
      ((await call("POST", `/${id}/rotate`, { key: one.key })).json() as Made).record;
    expect(await rotate(child.record.id)).toMatchObject({
      madeBy: one.record.id,
      firstId: child.record.id,
      path: [one.record.id],
    });
    expect(await rotate(one.record.id)).toMatchObject({ madeBy: null, firstId: one.record.id, path: [] });
  });

  it("a key has at most eight ancestors", async () => {
    const { call, service } = await start();
    let { key } = await service.create({ ownerId: "ada", name: "0", scopes: MANAGES });
    for (let makers = 1; makers <= 8; makers += 1) {
      const made = await call("POST", "/", { key }, { name: String(makers), scopes: MANAGES });
      expect(made.status).toBe(201);
      ({ key } = made.json() as Made);
    }
    expect((await call("POST", "/", { key }, { name: "9", scopes: MANAGES })).status).toBe(403);
  });

  it("a child key stays ended after a full memory store has dropped its parent's record", async () => {
    const store = new MemoryApiKeyStore({ maxKeys: 2 });
    await store.insert(sampleKey({ id: "maker" }));
    await store.insert(sampleKey({ id: "child", ownerId: "b", path: ["maker"], revokedAt: null }));
    await store.revoke("maker", 5, "leaked");
    await store.insert(sampleKey({ id: "other", ownerId: "c" }));
    expect(await store.get("maker")).toBeUndefined();
    expect(await store.get("child")).toMatchObject({ revokedAt: 5, revokedReason: "maker-ended" });
  });
});
