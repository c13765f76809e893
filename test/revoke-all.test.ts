import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import express, { type Express, type Request } from "express";
import { afterEach, describe, expect, it } from "vitest";
import { applySecurity } from "../src/apply-security.js";
import type { SecuritySettings } from "../src/app-settings/schema.js";
import type { SecurityEvent } from "../src/core/events.js";
import type { Principal } from "../src/core/principal.js";
import { MemoryApiKeyStore } from "../src/stores/memory/api-key-store.js";
import { MemoryTokenStore } from "../src/stores/memory/token-store.js";
import { StoreUnavailableError } from "../src/stores/health/store-guard.js";
import type { RevokeAllInput, RevokedCredentials } from "../src/revoke-all.js";
import { plainSessionStore } from "./session/plain-store.js";
import { mariaDbDatabase, postgresDatabase, sharedRedis, uniqueName } from "./support/servers.js";
import { serve, type TestServer } from "./support/serve.js";

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

const SECRET = "wJ8s7Yk2pQz4Nf6Vb1Xc3Mh5Lr9Tg0Ud";

interface Process {
  readonly app: Express;
  readonly security: ReturnType<typeof secured>;
  readonly server: TestServer;
  readonly events: SecurityEvent[];
  logIn(id: string, more?: { actor?: { id: string } }): Promise<string>;
  /** Status of a request with the credential, and who it is. */
  use(credential: Record<string, string>): Promise<string>;
}

function secured(app: Express, settings: SecuritySettings) {
  const security = applySecurity(app, {
    secretKey: SECRET,
    debug: true,
    rateLimit: false,
    headers: false,
    session: { storeTimeoutMs: 2000 },
    apiKeys: { hash: "hmac-sha256", cacheSeconds: 60, storeTimeoutMs: 5000 },
    jwt: { storeTimeoutMs: 5000 },
    ...settings,
  });
  const { apiKeys, jwt } = security;
  if (apiKeys === undefined || jwt === undefined) throw new Error("this app has keys and tokens");
  return { ...security, apiKeys, jwt };
}

async function start(settings: SecuritySettings): Promise<Process> {
  const app = express();
  const security = secured(app, settings);
  const events: SecurityEvent[] = [];
  security.events.on("*", (event) => events.push(event));
  const logIn = async (req: Request): Promise<void> => {
    const { id, ...more } = JSON.parse(String(req.headers["x-who"])) as { id: string };
    await security.logIn(req, { id, ...more });
  };
  app.post("/in", (req, res, next) => void logIn(req).then(() => res.json(req.principal), next));
  app.get("/who", (req, res) => void res.json(req.principal ?? null));
  await security.ready();
  const server = await serve(app);
  closing.push(
    () => security.close(),
    () => server.close(),
  );
  const use: Process["use"] = async (headers) => {
    const answer = await server.send("/who", { headers });
    const who = answer.status === 200 ? (JSON.parse(answer.text) as Principal | null) : undefined;
    return `${answer.status} ${who?.id ?? "-"}`;
  };
  return {
    app,
    security,
    server,
    events,
    use,
    logIn: async (id, more = {}) => {
      const answer = await server.send("/in", {
        method: "POST",
        headers: { "x-who": JSON.stringify({ id, ...more }) },
      });
      if (answer.status !== 200) throw new Error(`log-in: ${answer.status} ${answer.text}`);
      return String(answer.headers["set-cookie"]).split(";")[0] ?? "";
    },
  };
}

const STORES: Record<string, () => Promise<SecuritySettings>> = {
  memory: async () => ({}),
  SQLite: async () => ({ database: "sqlite::memory:" }),
  Redis: async () => ({ redis: (await sharedRedis()).url, redisPrefix: `${uniqueName()}:` }),
  "Redis and PostgreSQL": async () => ({
    redis: (await sharedRedis()).url,
    redisPrefix: `${uniqueName()}:`,
    database: await postgresDatabase(),
  }),
  MariaDB: async () => ({ database: await mariaDbDatabase() }),
  "a session store of others": async () => ({ session: { store: plainSessionStore(), storeTimeoutMs: 2000 } }),
};

/** One of each kind of credential of `ada`, and what proves the same for somebody else and in another's session. */
async function credentialsOf({ security, logIn }: Process, id: string) {
  const { accessToken, refreshToken } = await security.jwt.issue(id);
  const { key, record } = await security.apiKeys.create({ ownerId: id, name: "key" });
  return {
    session: { cookie: await logIn(id) },
    token: { authorization: `Bearer ${accessToken}` },
    alone: { authorization: `Bearer ${await security.jwt.signAccessToken(id)}` },
    key: { "x-api-key": key },
    refreshToken,
    keyId: record.id,
  };
}

describe.each(Object.keys(STORES))("revokeAll with %s", (kind) => {
  it("ends every credential of one principal and none of another; all kinds work again afterwards", async () => {
    const here = await start((await STORES[kind]?.()) ?? {});
    const { security, use, logIn } = here;
    const ada = await credentialsOf(here, "ada");
    const bob = await credentialsOf(here, "bob");
    const acting = { cookie: await logIn("bob", { actor: { id: "ada" } }) };
    const actedOn = { cookie: await logIn("ada", { actor: { id: "bob" } }) };
    const kinds = ["session", "token", "alone", "key"] as const;
    const all = async (of: typeof ada) => Promise.all(kinds.map((name) => use(of[name])));
    expect(await all(ada)).toEqual(["200 ada", "200 ada", "200 ada", "200 ada"]);
    expect([await use(acting), await use(actedOn)]).toEqual(["200 bob", "200 ada"]);

    const counts = await security.revokeAll("ada", { reason: "stolen" });
    expect(counts).toMatchObject({ apiKeys: 1, tokenFamilies: 1 });
    if (kind !== "a session store of others") expect(counts.sessions).toBe(2);
    expect(await all(ada)).toEqual(["200 -", "401 -", "401 -", "401 -"]);
    expect([await use(acting), await use(actedOn)]).toEqual(["200 -", "200 -"]);
    await expect(security.jwt.refresh(ada.refreshToken)).rejects.toMatchObject({ code: "revoked" });
    expect((await security.apiKeys.get(ada.keyId))?.revokedReason).toBe("stolen");
    expect(await all(bob)).toEqual(["200 bob", "200 bob", "200 bob", "200 bob"]);
    await security.jwt.refresh(bob.refreshToken);
    expect(here.events.filter(({ reason }) => reason === "revoke-all")).toMatchObject([
      { event: "authn_token_revoked", source: "security", subject: "ada" },
    ]);

    const again = await credentialsOf(here, "ada");
    expect(await all(again)).toEqual(["200 ada", "200 ada", "200 ada", "200 ada"]);
    await security.jwt.refresh(again.refreshToken);
    expect(await use({ cookie: await logIn("bob", { actor: { id: "ada" } }) })).toBe("200 bob");
    // A second time, for what was made since the first.
    await security.revokeAll("ada", { reason: "again" });
    expect(await all(again)).toEqual(["200 -", "401 -", "401 -", "401 -"]);
  });

  it("spares the credential to keep, given as a principal or as text, and nothing else", async () => {
    const here = await start((await STORES[kind]?.()) ?? {});
    const { security, use, server } = here;
    const principalOf = async (headers: Record<string, string>): Promise<Principal> =>
      JSON.parse((await server.send("/who", { headers })).text) as Principal;
    for (const how of ["principal", "text"] as const) {
      const kinds = ["session", "token", "alone", "key"] as const;
      for (const kept of kinds) {
        const id = `user-${how}-${kept}`;
        const mine = await credentialsOf(here, id);
        const others = await credentialsOf(here, id);
        const principal = await principalOf(mine[kept]);
        if (how === "text" && kept === "alone") {
          await expect(security.revokeAll(id, { keep: principal.credentialId })).rejects.toMatchObject({
            code: "invalid-input",
          });
          continue;
        }
        const text = kept === "token" ? String(principal.claims.fam) : principal.credentialId;
        for (let times = 0; times < 2; times += 1)
          await security.revokeAll(id, { keep: how === "text" ? text : principal, reason: "others" });
        for (const name of kinds) {
          expect(await use(mine[name]), `${how} ${kept} ${name}`).toBe(
            name === kept ? `200 ${id}` : name === "session" ? "200 -" : "401 -",
          );
          expect(await use(others[name])).toBe(name === "session" ? "200 -" : "401 -");
        }
        const refreshed = security.jwt.refresh(mine.refreshToken);
        if (kept === "token")
          expect(await use({ authorization: `Bearer ${(await refreshed).accessToken}` })).toBe(`200 ${id}`);
        else await expect(refreshed).rejects.toMatchObject({ code: "revoked" });
        // Without it, the kept one ends too; keeping it then does not bring it back.
        await security.revokeAll(id, { reason: "all" });
        await security.revokeAll(id, { keep: principal, reason: "all" });
        expect(await use(mine[kept])).toBe(kept === "session" ? "200 -" : "401 -");
      }
    }
  });
});

it("refuses ids, reasons and credentials to keep that are none, and then ends nothing", async () => {
  const here = await start({});
  const { security, use } = here;
  const { session } = await credentialsOf(here, "17");
  const call = (id: unknown, options?: unknown): Promise<RevokedCredentials> =>
    security.revokeAll(id as string, options as RevokeAllInput);
  const jti = (await security.jwt.verifyAccessToken(await security.jwt.signAccessToken("17"))).jti;
  for (const id of ["", "a\0b", "\ud800", "x".repeat(256), 1.5, undefined, null, {}, ["17"]])
    await expect(call(id), JSON.stringify(id)).rejects.toMatchObject({ code: "invalid-input", status: 400 });
  for (const keep of [jti, "", "x", "../..", 17, null, {}, { kind: "session" }, ["a"], "a".repeat(10_000)])
    await expect(call("17", { keep, reason: "x" }), JSON.stringify(keep)).rejects.toMatchObject({
      code: "invalid-input",
    });
  for (const reason of ["", "a\nb", 5, "x".repeat(201)])
    await expect(call("17", { reason }), JSON.stringify(reason)).rejects.toMatchObject({ code: "invalid-input" });
  expect(await use(session)).toBe("200 17");
  expect(await call(17, { reason: "number" })).toEqual({ sessions: 1, apiKeys: 1, tokenFamilies: 1 });
  expect(await use(session)).toBe("200 -");
});

it("ends what there is when only one protection is on, and says nothing of the others", async () => {
  const none = { session: false, apiKeys: false, jwt: false } as const;
  for (const [settings, expected] of [
    [{ ...none }, {}],
    [{ ...none, session: {} }, { sessions: 0 }],
    [{ ...none, apiKeys: {} }, { apiKeys: 0 }],
    [{ ...none, jwt: {} }, { tokenFamilies: 0 }],
  ] as const) {
    const security = applySecurity(express(), { secretKey: SECRET, trustedHosts: ["x.example"], ...settings });
    closing.push(() => security.close());
    await security.ready();
    expect(await security.revokeAll("ada", { reason: "x" })).toEqual(expected);
  }
});

describe("a process that does not know of the call yet", () => {
  it("makes no key for a session or a token that another process has ended", async () => {
    const folder = await mkdtemp(join(tmpdir(), "portcullis-stale-"));
    closing.push(() => rm(folder, { recursive: true }));
    const settings = {
      database: `sqlite:${join(folder, "keys.db")}`,
      session: { store: plainSessionStore(), storeTimeoutMs: 2000 },
    };
    const there = await start(settings);
    const here = await start(settings);
    there.app.use("/keys", there.security.apiKeyRoutes({ maxLifetimeDays: 1 }));
    const make = async (headers: Record<string, string>): Promise<number> => {
      const body = JSON.stringify({ name: "late" });
      const answer = await there.server.send("/keys", {
        method: "POST",
        headers: { "content-type": "application/json", ...headers },
        body,
      });
      return answer.status;
    };
    for (const kind of ["session", "token"] as const) {
      const { accessToken } = await there.security.jwt.issue("ada", { scopes: ["api-keys:manage"] });
      const headers: Record<string, string> =
        kind === "session" ? { cookie: await there.logIn("ada") } : { authorization: `Bearer ${accessToken}` };
      expect(await make(headers)).toBe(201);
      const bystander = { cookie: await there.logIn("bob") };
      await here.security.revokeAll("ada", { reason: "stolen" });
      // Within the quarter of a second in which the other process has not read the change log.
      expect(await make(headers)).toBe(401);
      expect(await make(bystander)).toBe(201);
      const left = await here.security.apiKeys.list("ada");
      expect(left.filter(({ revokedAt }) => revokedAt === null)).toEqual([]);
      // After a new log-in keys can be made at once.
      expect(await make({ cookie: await there.logIn("ada") })).toBe(201);
    }
  });

  it("renews no session that another process has ended", async () => {
    const store = plainSessionStore();
    const settings = {
      redis: (await sharedRedis()).url,
      redisPrefix: `${uniqueName()}:`,
      session: { store, storeTimeoutMs: 2000 },
    };
    const there = await start(settings);
    const here = await start(settings);
    there.app.post("/renew", (req, res, next) => {
      const id = req.principal?.id ?? "nobody";
      here.security
        .revokeAll(id, { reason: "while the request runs" })
        .then(() => there.security.logIn(req, { id }))
        .then(() => res.end(), next);
    });
    const cookie = await there.logIn("ada");
    const answer = await there.server.send("/renew", { method: "POST", headers: { cookie } });
    expect(answer.status).toBe(401);
    expect(await there.use({ cookie })).toBe("200 -");
  });
});

describe("when a store fails", () => {
  it("revokeAll is refused with 503, the other kinds are ended, and this process repeats the rest", async () => {
    const keys = new MemoryApiKeyStore();
    const tokens = new MemoryTokenStore();
    const here = await start({ apiKeys: { store: keys, hash: "hmac-sha256" }, jwt: { store: tokens } });
    const { security, use } = here;
    for (const [store, method, survivor] of [
      [keys, "revokeAllOf", "key"],
      [tokens, "revokeSubject", "token"],
    ] as const) {
      const id = `user-${survivor}`;
      const ada = await credentialsOf(here, id);
      const broken = store as unknown as Record<string, unknown>;
      broken[method] = () => Promise.reject(new Error("down"));
      await expect(security.revokeAll(id, { reason: "stolen" })).rejects.toBeInstanceOf(StoreUnavailableError);
      for (const name of ["session", "token", "key"] as const)
        expect(await use(ada[name]), name).toBe(
          name === survivor ? `200 ${id}` : name === "session" ? "200 -" : "401 -",
        );
      delete broken[method];
      await expect.poll(() => use(ada[survivor]), { timeout: 3000 }).toBe("401 -");
      // The same call again succeeds.
      await security.revokeAll(id, { reason: "stolen" });
      const later = await credentialsOf(here, id);
      await new Promise((resolve) => setTimeout(resolve, 700));
      for (const name of ["session", "token", "key"] as const) expect(await use(later[name])).toBe(`200 ${id}`);
    }
  });
});
