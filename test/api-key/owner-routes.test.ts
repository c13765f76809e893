import express from "express";
import { afterEach, describe, expect, it } from "vitest";
import { apiKeyAuth } from "../../src/api-key/middleware.js";
import type { ApiKeyRoutesSettings } from "../../src/api-key/routes-settings.js";
import { apiKeyRoutes } from "../../src/api-key/routes.js";
import type { ApiKeyRecord } from "../../src/api-key/keys/records.js";
import { createPrincipal, type Principal } from "../../src/core/principal.js";
import { SettingsError } from "../../src/settings/errors.js";
import { type Answer, serve, type TestServer } from "../support/serve.js";
import { bench } from "./support.js";

const open: TestServer[] = [];
afterEach(async () => {
  for (const server of open.splice(0)) await server.close();
});

async function start(owner: ApiKeyRoutesSettings["owner"]) {
  const parts = bench({ failures: { limit: 1000 } });
  const app = express();
  app.use((req, _res, next) => {
    const who = req.headers["x-who"];
    if (typeof who === "string")
      req.principal = createPrincipal({
        kind: "session",
        scopes: ["read"],
        roles: [],
        credentialId: "s",
        ...(JSON.parse(who) as Pick<Principal, "id">),
      });
    next();
  });
  app.use(apiKeyAuth(parts.service));
  app.use("/keys", apiKeyRoutes(parts.service, { owner }, parts.runtime));
  const server = await serve(app);
  open.push(server);
  const call = (method: string, path: string, as: object | string, body?: object): Promise<Answer> =>
    server.send(`/keys${path}`, {
      method,
      headers: {
        ...(typeof as === "string" ? { "x-api-key": as } : { "x-who": JSON.stringify(as) }),
        ...(body === undefined ? {} : { "content-type": "application/json" }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  return { ...parts, call };
}

const TEAMS: Record<string, string | undefined> = { ada: "team-red", bob: "team-red", eve: "team-blue" };
const byMembership: ApiKeyRoutesSettings["owner"] = (req) => TEAMS[req.principal?.id ?? ""];
const json = (answer: Answer): { record: ApiKeyRecord; key: string; records: ApiKeyRecord[] } =>
  JSON.parse(answer.text);

describe("apiKeyRoutes with an owner", () => {
  it("gives all members of an organisation its keys, and nobody else", async () => {
    const { call, service } = await start(byMembership);
    const made = await call("POST", "/", { id: "ada" }, { name: "ci", scopes: ["read"] });
    expect(made.status).toBe(201);
    const { record, key } = json(made);
    expect([record.ownerId, record.madeBy]).toEqual(["team-red", "s"]);
    const verified = await service.verify(key);
    expect(verified.ok && verified.principal.id).toBe("team-red");
    expect(json(await call("GET", "/", { id: "bob" })).records.map(({ id }) => id)).toEqual([record.id]);
    expect((await call("GET", `/${record.id}`, { id: "bob" })).status).toBe(200);
    expect((await call("GET", `/${record.id}`, { id: "eve" })).status).toBe(404);
    expect((await call("DELETE", `/${record.id}`, { id: "eve" })).status).toBe(404);
    // The owner's rules do not widen what the caller may give.
    expect((await call("POST", "/", { id: "bob" }, { name: "x", scopes: ["admin"] })).status).toBe(403);
    expect((await call("POST", "/", { id: "bob" }, { name: "x", ownerId: "team-blue" })).status).toBe(400);
    expect((await call("POST", `/${record.id}/rotate`, { id: "bob" }, {})).status).toBe(201);
    expect((await call("GET", "/", { id: "mallory" })).status).toBe(403);
  });

  it("lets a key manage only the keys of its own owner", async () => {
    const { call, service } = await start((req) => req.get("x-who") ?? "team-red");
    const scopes = ["api-keys:manage"];
    const team = await service.create({ ownerId: "team-red", name: "team", scopes });
    const own = await service.create({ ownerId: "ada", name: "own", scopes });
    const made = await call("POST", "/", team.key, { name: "child" });
    expect([made.status, json(made).record.ownerId]).toEqual([201, "team-red"]);
    expect((await call("POST", "/", own.key, { name: "child" })).status).toBe(403);
    expect((await call("GET", "/", own.key)).status).toBe(403);
    // The child ends with its maker, and with all keys of the owner.
    await service.revokeAllOf("team-red");
    expect((await service.verify(json(made).key)).ok).toBe(false);
  });

  it("answers 503 when it takes longer than storeTimeoutMs, and goes on when it answers in time", async () => {
    let isSlow = true;
    const { call, events } = await start(() =>
      isSlow ? new Promise<string>(() => undefined) : Promise.resolve("team-red"),
    );
    const late = await call("GET", "/", { id: "ada" });
    expect([late.status, late.headers["retry-after"], late.headers["cache-control"]]).toEqual([503, "1", "no-store"]);
    expect(events.map(({ reason }) => reason)).toContain("owner-late");
    isSlow = false;
    expect((await call("GET", "/", { id: "ada" })).status).toBe(200);
  });

  const WRONG: [string, NonNullable<ApiKeyRoutesSettings["owner"]>, string][] = [
    [
      "throws",
      (): string => {
        throw new Error("secret-of-the-app");
      },
      "owner-failed",
    ],
    ["rejects", (): Promise<string> => Promise.reject(new Error("secret-of-the-app")), "owner-failed"],
    ["returns nothing", (): undefined => undefined, "no-owner"],
    ["returns an empty id", (): string => "", "no-owner"],
    ["returns an id with a line break", (): string => "a\nb", "no-owner"],
    ["returns half a surrogate pair", (): string => "\ud800", "no-owner"],
    ["returns an id that is too long", (): string => "x".repeat(256), "no-owner"],
    ["returns an object", (): string => ({}) as string, "no-owner"],
  ];
  it.each(WRONG)("answers 403 when it %s, and says so in the event", async (_name, owner, reason) => {
    const { call, events } = await start(owner);
    for (const [method, path, body] of [
      ["POST", "/", { name: "x" }],
      ["GET", "/", undefined],
      ["DELETE", "/AAAAAAAAAAAA", undefined],
    ] as const) {
      const answer = await call(method, path, { id: "ada" }, body);
      expect(answer.status).toBe(403);
      expect(answer.text).not.toContain("secret");
    }
    expect(events.filter((event) => event.reason === reason)).toHaveLength(3);
  });

  it("takes a number, and stops the start when it is no function", async () => {
    const { call } = await start((() => 17) as unknown as ApiKeyRoutesSettings["owner"]);
    expect(json(await call("POST", "/", { id: "ada" }, { name: "x" })).record.ownerId).toBe("17");
    const { service } = bench();
    expect(() => apiKeyRoutes(service, { owner: "team-red" } as unknown as ApiKeyRoutesSettings)).toThrow(
      SettingsError,
    );
  });
});

describe("a session that was ended while it made a key", () => {
  it.each([true, false])("gets the key only if it is in force still (%s)", async (isInForce) => {
    const { service, runtime, store } = bench();
    const app = express();
    app.use((req, _res, next) => {
      req.principal = createPrincipal({ id: "ada", kind: "session", scopes: [], roles: [], credentialId: "s" });
      next();
    });
    app.use(
      "/keys",
      apiKeyRoutes(service, {}, runtime, async () => {
        // Asked after the key is stored: a call that ends all keys later finds it.
        expect((await store.list("ada", { limit: 10 })).length).toBeGreaterThan(0);
        return isInForce;
      }),
    );
    const server = await serve(app);
    open.push(server);
    const post = async (path: string, body: object): Promise<Answer> =>
      server.send(path, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify(body),
      });
    const made = await post("/keys", { name: "x" });
    expect(made.status).toBe(isInForce ? 201 : 401);
    const { record } = await service.create({ ownerId: "ada", name: "y" });
    expect((await post(`/keys/${record.id}/rotate`, {})).status).toBe(isInForce ? 201 : 401);
    const usable = (await service.list("ada")).filter((key) => key.revokedAt === null && key.rotatedTo === null);
    expect(usable).toHaveLength(isInForce ? 2 : 0);
  });
});

it("a rotation gives the caller nothing that an update adds to the key meanwhile", async () => {
  const { service, store, call } = await start((req) => TEAMS[req.principal?.id ?? ""] ?? req.principal?.id);
  const { record } = await service.create({ ownerId: "team-red", name: "ci", scopes: ["read"] });
  store.afterRead = async () => {
    store.afterRead = () => Promise.resolve();
    await service.update(record.id, { scopes: ["read", "payments:send"] });
  };
  const answer = await call("POST", `/${record.id}/rotate`, { id: "ada" }, {});
  expect([answer.status, answer.text.includes('"key"')]).toEqual([403, false]);
  const inForce = (await service.list("team-red")).filter(
    ({ revokedAt, rotatedTo }) => (revokedAt ?? rotatedTo) === null,
  );
  expect(inForce).toEqual([]);

  const own = await service.create({ ownerId: "team-red", name: "own", scopes: ["api-keys:manage"] });
  await service.verify(own.key);
  let reads = 0;
  store.afterRead = async () => {
    reads += 1;
    if (reads === 2) await service.update(own.record.id, { scopes: ["api-keys:manage", "read"] });
  };
  const itself = await call("POST", `/${own.record.id}/rotate`, own.key, {});
  expect([itself.status, json(itself).record?.scopes]).toEqual([201, ["api-keys:manage", "read"]]);
});
