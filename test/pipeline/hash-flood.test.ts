import express from "express";
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import { applySecurity } from "portcullis";
import { MemoryApiKeyStore } from "../../src/stores/memory/api-key-store.js";
import { forged } from "../api-key/support.js";
import { type Answer, serve, type TestServer } from "../support/serve.js";

/** Two at work and these waiting; one party may have half of all. */
const QUEUE = 38;
const PLACES = QUEUE + 2;
/** Clients of each party of the flood. */
const FLOOD = 24;
const HONEST = 6;
/** Hashes of the flood that may be done while honest callers wait. A queue in order of arrival does 20 and more. */
const MOST = 12;

interface Key {
  readonly id: string;
  readonly key: string;
}

interface App {
  readonly server: TestServer;
  /** Presents a key. */
  use(from: string, key: string): Promise<Answer>;
  /** Makes a key by the token of an owner. */
  make(ownerId: string): Promise<Answer>;
}

describe("a flood of real argon2id hashes", () => {
  const store = new MemoryApiKeyStore({ maxKeys: 1_000_000 });
  const honest: Key[] = [];
  const targets: Key[] = [];
  const open: { close(): Promise<void> }[] = [];
  afterEach(async () => {
    for (const one of open.splice(0)) await one.close();
  });

  /** An app that has verified no key yet, so that each first use of a key is a hash. */
  async function start(
    failures: { limit?: number } = { limit: 10_000 },
  ): Promise<App & { newKey(ownerId: string): Promise<Key> }> {
    const app = express();
    const security = applySecurity(app, {
      trustedHosts: ["127.0.0.1"],
      trustProxy: 1,
      secretKey: "Yw3v9hQ2pX7rT5mK8sD1fG6jL4zB0nCq",
      apiKeys: { store, failures, hashQueue: QUEUE },
      jwt: {},
      rateLimit: { limit: 100_000 },
    });
    app.use("/api-keys", security.apiKeyRoutes());
    app.get("/me", security.requireAuth(), (req, res) => void res.json({ id: req.principal?.id }));
    await security.ready();
    const server = await serve(app);
    open.push(server, security);
    return {
      server,
      use: (from, key) => server.send("/me", { headers: { "x-forwarded-for": from, "x-api-key": key } }),
      make: async (ownerId) => {
        const token = await security.jwt.signAccessToken(ownerId, { scopes: ["api-keys:manage"] });
        return server.send("/api-keys", {
          method: "POST",
          headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
          body: JSON.stringify({ name: "k" }),
        });
      },
      newKey: async (ownerId) => {
        const { key, record } = await security.apiKeys.create({ ownerId, name: "k" });
        return { id: record.id, key };
      },
    };
  }

  beforeAll(async () => {
    const { newKey } = await start();
    for (let n = 0; n < HONEST; n += 1) honest.push(await newKey(`honest-${n}`));
    for (let n = 0; n < FLOOD; n += 1) targets.push(await newKey(`target-${n}`));
  });

  /** Honest callers with right keys that were not seen yet, each at an address of its own, and two owners who make keys. */
  const honestCalls = (app: App): Promise<Answer>[] => [
    ...honest.map(({ key }, n) => app.use(`198.51.100.${n}`, key)),
    ...["owner-1", "owner-2"].map((owner) => app.make(owner)),
  ];
  const SERVED = [...new Array<number>(HONEST).fill(200), 201, 201];

  const target = (n: number): string => targets[n % FLOOD]!.key;
  const FLOODS: Record<string, (app: App, caller: number, count: number) => Promise<Answer>> = {
    "guesses of one address at one key": (app, _caller, count) => app.use("203.0.113.9", forged(target(0), count)),
    "guesses of one address at many keys": (app, caller, count) =>
      app.use("203.0.113.9", forged(target(caller), count)),
    "guesses of many addresses at one key": (app, caller, count) =>
      app.use(`203.0.113.${caller}`, forged(target(0), count)),
    "keys that one owner makes": (app) => app.make("mallory"),
  };
  const ALL = Object.values(FLOODS);
  const floods = [
    ...Object.entries(FLOODS).map(([name, call]) => ({ name, calls: [call] })),
    { name: "all of these", calls: ALL },
  ];

  it("without a flood every caller is served", async () => {
    const app = await start();
    expect((await Promise.all(honestCalls(app))).map(({ status }) => status)).toEqual(SERVED);
  });

  it.each(floods)(
    "$name: other callers are served after a few hashes of the flood, which gets 503",
    async ({ calls }) => {
      const app = await start();
      const answers: Answer[] = [];
      const hashed = (): number => answers.filter(({ status }) => status !== 503).length;
      const refused = (): readonly Answer[] => answers.filter(({ status }) => status === 503);
      let isOver = false;
      let count = 0;
      /** One client of the flood: it comes again as soon as its hash is done. */
      const client = async (
        call: (app: App, caller: number, count: number) => Promise<Answer>,
        caller: number,
      ): Promise<void> => {
        while (!isOver) {
          const answer = await call(app, caller, (count += 1));
          answers.push(answer);
          if (answer.status === 503) return;
        }
      };
      const flood = calls.flatMap((call) => Array.from({ length: FLOOD }, (_, caller) => client(call, caller)));
      // Whoever is left has a place.
      const fewest = FLOOD * calls.length - (calls.length === 1 ? PLACES / 2 : PLACES);
      await expect.poll(() => refused().length, { timeout: 20_000 }).toBeGreaterThanOrEqual(fewest);

      const before = hashed();
      const honestAnswers = await Promise.all(honestCalls(app));
      const meanwhile = hashed() - before;
      isOver = true;
      await Promise.all(flood);
      expect(honestAnswers.map(({ status }) => status)).toEqual(SERVED);
      expect(meanwhile).toBeLessThanOrEqual(MOST);
      for (const { headers, json } of refused())
        expect([headers["retry-after"], json()]).toMatchObject(["1", { code: "store-unavailable" }]);
      for (const { status } of answers) expect([201, 401, 503]).toContain(status);
    },
    60_000,
  );

  it("guesses of one address at a key leave its holder served; beyond the limit of failures the address gets 429", async () => {
    const app = await start({});
    const guess = (n: number): Promise<Answer> => app.use("203.0.113.9", forged(target(1), n));
    const answers: Answer[] = [];
    const flood = Array.from({ length: 3 * FLOOD }, async (_, n) => answers.push(await guess(n)));
    await expect
      .poll(() => answers.filter(({ status }) => status === 503).length, { timeout: 20_000 })
      .toBeGreaterThan(0);
    expect((await app.use("198.51.100.7", target(1))).status).toBe(200);
    await Promise.all(flood);
    while (answers.at(-1)?.status !== 429) answers.push(await guess(answers.length));
    expect(Number(answers.at(-1)?.headers["retry-after"])).toBeGreaterThan(0);
    // The default limit, and no hash beyond it.
    expect(answers.filter(({ status }) => status === 401)).toHaveLength(20);
    for (const { status } of answers) expect([401, 429, 503]).toContain(status);
    expect((await app.use("198.51.100.7", target(1))).status).toBe(200);
  }, 60_000);
});
