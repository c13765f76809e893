import express from "express";
import { sql } from "kysely";
import { migrate, SqlApiKeyStore, SqlTokenStore } from "portcullis/sql";
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from "vitest";
import { applySecurity } from "../src/apply-security.js";
import type { SecuritySettings } from "../src/app-settings/schema.js";
import { sampleKey, sampleToken } from "../src/testing/samples.js";
import { serve, type TestServer } from "./support/serve.js";
import { FILLED_ENGINES, type OpenedDatabase } from "./stores/sql/filled-engines.js";
import { Steps } from "./stores/sql/steps.js";

// What a principal can make large: keys, families of tokens, and log-ins. What ends them, and the guard of the log-in, take as
// many statements for all of them as for one.
const MANY = 2000;
/** As many families are looked at to count them. */
const COUNTED = 100;
const NOW = 1_700_000_000_000;
const LATER = 5_000_000_000_000;

function secured(app: express.Express, settings: SecuritySettings) {
  return applySecurity(app, {
    secretKey: "wJ8s7Yk2pQz4Nf6Vb1Xc3Mh5Lr9Tg0Ud",
    debug: true,
    rateLimit: false,
    session: {},
    loginLimits: {
      account: { limit: 10 * MANY },
      accountAndAddress: { limit: 10 * MANY },
      address: { limit: 10 * MANY },
    },
    ...settings,
  });
}

describe.each(FILLED_ENGINES)("on $engine, a principal with 2 000 keys and families", ({ open, numbers, text }) => {
  const calls = new Steps();
  const cleaning = new Steps();
  let opened: OpenedDatabase;
  let server: TestServer;
  let close: () => Promise<void>;
  let revokeAll: ReturnType<typeof secured>["revokeAll"];

  beforeAll(async () => {
    opened = await open();
    await migrate(opened.slowDb);
    const db = opened.db.withPlugin(calls);
    const keys = new SqlApiKeyStore(db, { slowDb: opened.slowDb.withPlugin(cleaning) });
    const tokens = new SqlTokenStore(db, { slowDb: opened.slowDb });
    for (const store of [keys, tokens]) await store.init();
    for (const id of ["one", "many"]) {
      await keys.insert(sampleKey({ id: `key of ${id}`, ownerId: id, createdAt: NOW }));
      await tokens.insert(
        sampleToken({
          id: `token of ${id}`,
          familyId: `family of ${id}`,
          subject: id,
          expiresAt: LATER,
          familyExpiresAt: LATER,
        }),
      );
    }
    const run = (statement: string) => sql.raw(statement).execute(opened.slowDb);
    await run(
      `insert into portcullis_api_keys (id, owner_id, name, hash_algorithm, hash_digest, scopes, roles, allow_list, metadata, created_at, usage_count, made_at, due_at, idle_at) select ${text("k")}, 'many', 'n', 'argon2id', 'd', '[]', '[]', '[]', '{}', n, 0, n, null, n from ${numbers(1, MANY)}`,
    );
    await run(
      `insert into portcullis_token_families (id, subject, expires_at, created_at, last_used_at, idle_ends_at) select ${text("f")}, 'many', ${LATER}, n, n, ${LATER} from ${numbers(1, MANY)}`,
    );
    await run(
      `insert into portcullis_refresh_tokens (id, hash, family_id, subject, scopes, roles, claims, issued_at, expires_at, family_expires_at, used_at) select ${text("t")}, 'h', ${text("f")}, 'many', '[]', '[]', '{}', ${NOW}, ${LATER}, ${LATER}, null from ${numbers(1, MANY)}`,
    );
    const app = express();
    const security = secured(app, {
      apiKeys: { store: keys, hash: "hmac-sha256", storeTimeoutMs: 10_000 },
      jwt: { store: tokens, storeTimeoutMs: 10_000 },
    });
    app.post("/log-in/:id", security.loginGuard({ account: (req) => String(req.params["id"]) }), (req, res, next) => {
      const { id } = req.params;
      if (req.headers["x-password"] === "right")
        return void security.logIn(req, { id: String(id) }).then(() => res.end(), next);
      security.loginFailed(req, { id: String(id), reason: "wrong-password" });
      res.status(401).end();
    });
    await security.ready();
    server = await serve(app);
    revokeAll = security.revokeAll;
    close = async () => {
      await server.close();
      await security.close();
    };
  });
  afterAll(async () => {
    await close?.();
    await opened?.close();
  });

  const logIn = (id: string, password: string) =>
    server.send(`/log-in/${id}`, {
      method: "POST",
      headers: { "x-password": password, "sec-fetch-site": "same-origin" },
    });

  test("loginGuard asks nothing of what is stored of a principal, for a wrong and for a right password", async () => {
    await Promise.all(Array.from({ length: 100 }, () => logIn("many", "right")));
    for (const [password, status] of [
      ["wrong", 401],
      ["right", 200],
    ] as const)
      for (const id of ["one", "many"]) {
        const steps = await calls.of(async () => expect((await logIn(id, password)).status).toBe(status));
        expect(steps, `${id}, ${password}`).toEqual([0, 0]);
      }
  });

  test("revokeAll takes as many statements as for one of each, and looks at 100 families at most", async () => {
    cleaning.statements = 0;
    const one = await calls.of(async () =>
      expect(await revokeAll("one")).toMatchObject({ apiKeys: 1, tokenFamilies: 1 }),
    );
    const cleanedOne = cleaning.statements;
    cleaning.statements = 0;
    const many = await calls.of(async () => expect(await revokeAll("many")).toMatchObject({ apiKeys: MANY + 1 }));
    const cleanedMany = cleaning.statements;
    process.stdout.write(`revokeAll | one ${one.join()} +${cleanedOne}, ${MANY} ${many.join()} +${cleanedMany}\n`);
    expect(many[0]).toBe(one[0]);
    expect(many[1]).toBeLessThan(one[1] + COUNTED);
    // The records of the keys are completed in turns of 500, for which no request waits longer than its time.
    expect(cleanedMany).toBeLessThanOrEqual(cleanedOne * (1 + Math.ceil((MANY + 1) / 500)));
  });
});

/** How many reads of maps and sets the work needs. */
async function lookUps(work: () => Promise<unknown>): Promise<number> {
  const spies = [vi.spyOn(Map.prototype, "get"), vi.spyOn(Map.prototype, "values"), vi.spyOn(Set.prototype, "has")];
  try {
    await work();
    return spies.reduce((sum, spy) => sum + spy.mock.calls.length, 0);
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
}

describe("in memory", () => {
  /** What `revokeAll` takes for a principal with so many of each. */
  async function stepsWith({ families = 0, keys = 0 }): Promise<number> {
    const { apiKeys, jwt, revokeAll, close } = secured(express(), { apiKeys: { hash: "hmac-sha256" }, jwt: {} });
    onTestFinished(() => close());
    for (let n = 0; n < families; n += 1) await jwt?.issue("many");
    for (let n = 0; n < keys; n += 1) await apiKeys?.create({ ownerId: "many", name: "n" });
    return lookUps(async () => expect((await revokeAll("many")).apiKeys).toBe(keys));
  }

  test("revokeAll takes as many steps for 900 families as for 200", async () => {
    expect(await stepsWith({ families: 900 })).toBe(await stepsWith({ families: 200 }));
  });

  test("revokeAll takes a few steps for each key, of which a principal has 1 000 at most", async () => {
    const [few, many] = [await stepsWith({ keys: 100 }), await stepsWith({ keys: 900 })];
    expect((many - few) / 800).toBeLessThan(20);
  });
});
