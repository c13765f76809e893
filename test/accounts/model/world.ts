import { createHmac } from "node:crypto";
import type { ErrorRequestHandler, Express } from "express";
import { applySecurity, type Security } from "portcullis";
import { createAccounts, type AccountNotice, type AccountUser } from "portcullis/accounts";
import { ManualClock, testSecret } from "portcullis/testing";
import { ask, newApp } from "../../simulation/world/ask.js";

/** What one request got. */
export interface Got {
  readonly status: number;
  readonly body: Record<string, unknown>;
}

/** The people of one sequence. Nobody else has their names. */
export interface People {
  /** Has an authenticator app from the beginning. */
  readonly ada: string;
  /** Has a password alone, and may set up a factor. */
  readonly bob: string;
  /** Must have a second factor, and has none at first. */
  readonly root: string;
  /** Is nobody until somebody registers the name. */
  readonly eve: string;
  /** As eve, and must have a second factor then. */
  readonly rootEve: string;
}

/** Whether the app requires a second factor of the person with this name. */
export function isRequired(name: string): boolean {
  return name.startsWith("root");
}

const PATIENT_MS = 10_000;

export const PASSWORD = "correct horse battery staple";

/**
 * One app with accounts in memory, for many sequences. Its hash is a fast one, so that ten thousand sequences take two minutes;
 * all else is the library as it is.
 */
export class World {
  readonly clock = new ManualClock();
  readonly users = new Map<string, AccountUser>();
  /** The link of the last reset, by person. */
  readonly links = new Map<string, string>();
  /** The link of the last registration, by name. */
  readonly registrations = new Map<string, string>();
  readonly app: Express;
  readonly security: Security;
  readonly accounts: ReturnType<typeof createAccounts>;
  /** The secrets of the authenticator apps, by person: what honest people know. */
  readonly secrets = new Map<string, string>();
  #sequence = 0;

  constructor() {
    this.app = newApp();
    this.security = applySecurity(
      this.app,
      {
        trustedHosts: ["localhost"],
        secretKey: testSecret(),
        debug: true,
        // A busy machine must not end a sequence.
        session: { storeTimeoutMs: PATIENT_MS },
        jwt: { storeTimeoutMs: PATIENT_MS },
        apiKeys: { hash: "hmac-sha256", storeTimeoutMs: PATIENT_MS },
        trustProxy: 1,
        rateLimit: false,
        loginLimits: {
          address: { limit: 1_000_000 },
          accountAndAddress: { limit: 1_000_000 },
          account: { limit: 1_000_000 },
          maxConsecutiveFailures: false,
        },
      },
      { clock: this.clock },
    );
    this.accounts = createAccounts(
      this.security,
      {
        baseUrl: "http://localhost:3000",
        storeTimeoutMs: PATIENT_MS,
        users: {
          findByLogin: (login) => this.users.get(login),
          findById: (id) => this.users.get(id),
          create: ({ login }) => {
            const user = { id: login, login, email: `${login}@example.com`, emailVerified: true };
            this.users.set(login, user);
            return user;
          },
        },
        notify: (notice) => this.#receive(notice),
        factors: { required: ({ login }) => isRequired(login) },
      },
      { argon2: FAST },
    );
    const { app, security } = this;
    app.use("/account", this.accounts.routes());
    app.get("/me", security.requireAuth(), (req, res) => void res.json(req.principal));
    app.use("/keys", security.apiKeyRoutes());
    // What an app may do by itself: none of it names a method that the request has not proved.
    app.post(
      "/token",
      security.requireAuth({ kinds: ["session", "jwt"] }),
      security.handler(async (req, res) => {
        const { id = "", methods = [] } = req.principal ?? {};
        res.json(await security.jwt?.issue(id, { methods, scopes: ["api-keys:manage"] }));
      }),
    );
    app.post(
      "/back-door/:id",
      security.handler(async (req, res) => {
        await security.logIn(req, { id: String(req.params.id) });
        res.sendStatus(204);
      }),
    );
    app.post(
      "/back-door-token/:id",
      security.handler(async (req, res) => {
        res.json({ accessToken: await security.jwt?.signAccessToken(String(req.params.id)) });
      }),
    );
    app.use("/tokens", security.tokenRoutes());
    const answerError: ErrorRequestHandler = (error: { status?: number; code?: string }, _req, res, _next) => {
      res.status(error.status ?? 500).json({ code: error.code ?? "unexpected" });
    };
    app.use(answerError);
  }

  #receive({ kind, user, link }: AccountNotice): void {
    const token = link === undefined ? "" : (new URL(link).searchParams.get("token") ?? "");
    if (kind === "password-reset") this.links.set(String(user.id), token);
    if (kind === "verify-email") this.registrations.set(user.login, token);
  }

  /** New people, and what is needed to begin with. */
  async people(): Promise<People> {
    this.#sequence += 1;
    const named = (name: string): string => `${name}${this.#sequence}`;
    const [ada, bob, root] = [named("ada"), named("bob"), named("root")];
    for (const id of [ada, bob, root]) {
      this.users.set(id, { id, login: id, email: `${id}@example.com`, emailVerified: true });
      await this.accounts.passwords.set(id, PASSWORD);
    }
    const honest = new Browser(this, "192.0.2.1");
    const entered = await honest.post("/account/login", { login: ada, password: PASSWORD });
    const { body } = await honest.post("/account/totp", {});
    this.secrets.set(ada, String(body.secret));
    const confirmed = await honest.post("/account/totp/confirm", { code: this.code(ada) });
    if (confirmed.status !== 200)
      throw new Error(`the model could not begin: ${JSON.stringify([entered, body, confirmed])}`);
    this.clock.advance(60_000);
    return { ada, bob, root, eve: named("eve"), rootEve: named("root-eve") };
  }

  /** The code that a person's authenticator app shows now, or showed some steps ago. */
  code(id: string, stepsAgo = 0): string {
    const secret = this.secrets.get(id);
    return secret === undefined ? "000000" : totp(secret, Math.floor(this.clock.now() / 30_000) - stepsAgo);
  }
}

/** A browser, or a program with tokens, or both: it keeps what it is given. */
export class Browser {
  readonly cookies = new Map<string, string>();
  pending: string | undefined;
  token: string | undefined;
  refreshToken: string | undefined;
  readonly keys: string[] = [];
  readonly #world: World;
  readonly #address: string;

  constructor(world: World, address: string) {
    this.#world = world;
    this.#address = address;
  }

  /** What it could prove itself by. */
  credentials(): ("cookies" | "token")[] {
    return [
      ...(this.cookies.size > 0 ? ["cookies" as const] : []),
      ...(this.token === undefined ? [] : ["token" as const]),
    ];
  }

  get(path: string, credential: "cookies" | "token" | { key: string }): Promise<Got> {
    return this.#send("GET", path, credential, undefined);
  }

  post(path: string, body: object, credential: "cookies" | "token" = "cookies"): Promise<Got> {
    return this.#send("POST", path, credential, body);
  }

  delete(path: string, credential: "cookies" | "token" = "cookies"): Promise<Got> {
    return this.#send("DELETE", path, credential, undefined);
  }

  async #send(
    method: "GET" | "POST" | "DELETE",
    path: string,
    credential: "cookies" | "token" | { key: string },
    body: object | undefined,
  ): Promise<Got> {
    const headers: Record<string, string> = {};
    if (credential === "cookies") {
      if (this.cookies.size > 0)
        headers["cookie"] = [...this.cookies].map(([name, value]) => `${name}=${value}`).join("; ");
    } else if (credential === "token") {
      if (this.token !== undefined) headers["authorization"] = `Bearer ${this.token}`;
    } else headers["x-api-key"] = credential.key;
    const answer = await ask(this.#world.app, {
      method,
      path,
      address: this.#address,
      headers,
      ...(body === undefined ? {} : { body }),
    });
    for (const line of answer.cookies) {
      const [pair = ""] = line.split(";");
      const name = pair.slice(0, pair.indexOf("="));
      if (/; Max-Age=0(?:;|$)/.test(line)) this.cookies.delete(name);
      else this.cookies.set(name, pair.slice(name.length + 1));
    }
    const { status, body: got } = answer;
    if (typeof got.pending === "string") this.pending = got.pending;
    if (typeof got.accessToken === "string") this.token = got.accessToken;
    if (typeof got.refreshToken === "string") this.refreshToken = got.refreshToken;
    if (typeof got.key === "string") this.keys.push(got.key);
    return { status, body: got };
  }
}

/** Stands in for argon2: as slow as nothing. */
const FAST = {
  hash: async (password: string) => `$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$${mac(password)}`,
  verify: async (digest: string, password: string) => digest.endsWith(mac(password)),
};

function mac(password: string): string {
  return createHmac("sha256", "model").update(password).digest("base64").replace(/=+$/, "");
}

/** RFC 6238, written a second time. */
function totp(base32: string, step: number): string {
  const bits = [...base32].map((char) => "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".indexOf(char).toString(2).padStart(5, "0"));
  const key = Buffer.from((bits.join("").match(/.{8}/g) ?? []).map((byte) => parseInt(byte, 2)));
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(step));
  const digest = createHmac("sha1", key).update(counter).digest();
  const offset = (digest.at(-1) ?? 0) & 15;
  return String((digest.readUInt32BE(offset) & 0x7fffffff) % 1_000_000).padStart(6, "0");
}
