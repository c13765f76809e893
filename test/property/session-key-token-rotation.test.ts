import express from "express";
import session from "express-session";
import fc from "fast-check";
import { describe, expect, it, vi } from "vitest";
import { ApiKeyService, applySecurity, JwtManager, logIn, sessions } from "portcullis";
import { MemoryApiKeyStore } from "../../src/stores/memory/api-key-store.js";
import { MemoryTokenStore } from "../../src/stores/memory/token-store.js";
import { KEYS } from "../jwt/support.js";
import { asHandler, cookieOf, withCookie } from "../session/support.js";
import { serve } from "../support/serve.js";
import { runs } from "./seed.js";

vi.setConfig({ testTimeout: runs(60_000) });

/** Four secrets, by number. */
const SECRETS = [
  "wJ8s7Yk2pQz4Nf6Vb1Xc3Mh5Lr9Tg0Ud",
  "Zk3Qm8Rv1Wx6Lp9Tn4Hs7Bd2Fy5Gc0Ja",
  "k3Vt9sQfYb2LxWn8RzGj5HdPm7CuTa4E",
  "hZ3vQ8nT1wYc7RkL0pXs5MdJf9GbU2eA",
];
/** Which of them a service has, the one that signs first. */
type Ring = readonly number[];
const secretsOf = (ring: Ring): string[] => ring.map((number) => SECRETS[number] ?? "");

/** What the services of all rings have in common. */
class Shared {
  readonly keys = new MemoryApiKeyStore();
  readonly tokens = new MemoryTokenStore();
  readonly sessions = new session.MemoryStore();
  readonly #open: (() => unknown)[] = [];

  onClose(close: () => unknown): void {
    this.#open.push(close);
  }

  async close(): Promise<void> {
    for (const close of this.#open.reverse()) await close();
  }
}

/** One kind of credential under one ring. */
interface Issuer {
  issue(): Promise<string>;
  /** The credential to hold from now on, or `undefined` when it is refused. */
  use(credential: string): Promise<string | undefined>;
}

type Kind = "session" | "key" | "access token" | "refresh token";
type Open = (ring: Ring, shared: Shared) => Promise<Record<Kind, Issuer>>;

const orRefused = (promise: Promise<string>): Promise<string | undefined> =>
  promise.catch((error: unknown) => {
    expect(error).toMatchObject({
      name: "TokenError",
      code: expect.stringMatching(/^(unknown|unknown-key|signature)$/),
    });
    return undefined;
  });

async function issuers(
  app: express.Express,
  keys: ApiKeyService,
  tokens: JwtManager,
  shared: Shared,
): Promise<Record<Kind, Issuer>> {
  app.get(
    "/in",
    asHandler(async (req, res) => {
      await logIn(req, { id: "ada" });
      res.send("in");
    }),
  );
  app.get("/", (req, res) => void res.send(req.principal?.id ?? "nobody"));
  const server = await serve(app);
  shared.onClose(() => server.close());
  return {
    session: {
      issue: async () => cookieOf(await server.send("/in")),
      use: async (cookie) => ((await server.send("/", withCookie(cookie))).text === "ada" ? cookie : undefined),
    },
    key: {
      issue: async () => (await keys.create({ ownerId: "ada", name: "k" })).key,
      use: async (key) => {
        const { ok } = await keys.verify(key);
        // The digest moves to the first secret behind the answer's back.
        await new Promise((resolve) => setImmediate(resolve));
        return ok ? key : undefined;
      },
    },
    "access token": {
      issue: () => tokens.signAccessToken("ada"),
      use: (token) => orRefused(tokens.verifyAccessToken(token).then(() => token)),
    },
    "refresh token": {
      issue: async () => (await tokens.issue("ada")).refreshToken,
      use: (token) => orRefused(tokens.refresh(token).then(({ refreshToken }) => refreshToken)),
    },
  };
}

const KEY_SETTINGS = { hash: "hmac-sha256", cacheSeconds: 0, failures: { limit: 10_000 } } as const;

const WAYS: Record<string, Open> = {
  "each component's own secret": (ring, shared) => {
    const secret = secretsOf(ring);
    const app = express();
    app.use(sessions({ secret, store: shared.sessions }));
    return issuers(
      app,
      new ApiKeyService({ ...KEY_SETTINGS, secret }, { store: shared.keys }),
      new JwtManager({ secret }, { store: shared.tokens }),
      shared,
    );
  },
  "the root secret of applySecurity": async (ring, shared) => {
    const app = express();
    const security = applySecurity(app, {
      secretKey: secretsOf(ring),
      trustedHosts: ["127.0.0.1"],
      rateLimit: false,
      session: { store: shared.sessions },
      apiKeys: { ...KEY_SETTINGS, store: new Kept(shared.keys) as MemoryApiKeyStore },
      jwt: { store: new Kept(shared.tokens) as MemoryTokenStore },
    });
    shared.onClose(() => security.close());
    await security.ready();
    return issuers(app, security.apiKeys, security.jwt, shared);
  },
};

/** A store that outlives the services it is given to: they close what they were given by the settings. */
class Kept {
  constructor(store: object) {
    return new Proxy(store, {
      get: (target, name) => {
        if (name === "close") return () => Promise.resolve();
        const value: unknown = Reflect.get(target, name, target);
        return typeof value === "function" ? (value.bind(target) as unknown) : value;
      },
    });
  }
}

const ring = fc.shuffledSubarray([0, 1, 2, 3], { minLength: 1 });
/** A deployment's life: a new secret goes first, the old ones stay for a while, come back, or go. */
const lives = fc.array(ring, { minLength: 2, maxLength: 5 });

describe.each(Object.entries(WAYS))("when %s rotates", (_name, open) => {
  it("a credential signed with a secret of the ring is accepted, one signed with another is refused, and the first secret signs new ones", async () => {
    const seen = { accepted: 0, refused: 0, moved: 0 };
    await fc.assert(
      fc.asyncProperty(lives, async (rings) => {
        const shared = new Shared();
        try {
          const held: { kind: Kind; credential: string; signedBy: number }[] = [];
          for (const [now, current] of rings.entries()) {
            const [first = NaN] = current;
            const byKind = await open(current, shared);
            for (const one of held) {
              const accepted = await byKind[one.kind].use(one.credential);
              const what = `${one.kind} signed by ${one.signedBy}, ring ${current.join()}, step ${now}`;
              expect(`${what}: ${accepted !== undefined}`).toBe(`${what}: ${current.includes(one.signedBy)}`);
              seen[accepted === undefined ? "refused" : "accepted"] += 1;
              if (accepted === undefined || one.kind === "session" || one.kind === "access token") continue;
              // Refreshing signs a successor; using a key keeps it anew. Either way the old secret can go.
              one.credential = accepted;
              if (one.signedBy !== first) seen.moved += 1;
              one.signedBy = first;
            }
            for (const kind of Object.keys(byKind) as Kind[])
              held.push({ kind, credential: await byKind[kind].issue(), signedBy: first });
          }
        } finally {
          await shared.close();
        }
      }),
      { numRuns: runs(25) },
    );
    expect(Math.min(seen.accepted, seen.refused)).toBeGreaterThan(40);
    expect(seen.moved).toBeGreaterThan(5);
  });
});

describe("when a key pair rotates", () => {
  const pairs = [KEYS.ec("P-256"), KEYS.otherEc];
  it("a token signed with a pair of the ring is accepted, one signed with another is refused, even where only the public half is left", async () => {
    const rings = fc.constantFrom<Ring>([0], [1], [0, 1], [1, 0]);
    await fc.assert(
      fc.asyncProperty(fc.array(rings, { minLength: 2, maxLength: 6 }), async (life) => {
        const held: { token: string; signedBy: number }[] = [];
        for (const current of life) {
          const keys = current.map((number, at) =>
            at === 0 ? { privateKey: pairs[number]!.privateKey } : { publicKey: pairs[number]!.publicKey },
          );
          const manager = new JwtManager({ algorithm: "ES256", keys });
          held.push({ token: await manager.signAccessToken("ada"), signedBy: current[0]! });
          for (const { token, signedBy } of held)
            expect((await orRefused(manager.verifyAccessToken(token).then(() => token))) !== undefined).toBe(
              current.includes(signedBy),
            );
          await manager.close();
        }
      }),
      { numRuns: runs(40) },
    );
  });
});
