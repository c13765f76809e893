import { createHmac } from "node:crypto";
import argon2 from "argon2";
import express, { type ErrorRequestHandler, type Request, type Response } from "express";
import { vi } from "vitest";
import { applySecurity } from "portcullis";
import { type AccountNotice, type AccountUser, createAccounts } from "portcullis/accounts";
import { MemoryCredentialStore } from "../../src/stores/memory/credential-store.js";
import { Authenticator } from "../accounts/support/authenticator.js";
import { ManualClock } from "../support/manual-clock.js";
import { serve, type TestServer } from "../support/serve.js";
import { MARK } from "./attack.js";
import { ACCOUNTS_HOST, ACCOUNTS_ORIGIN, PASSWORD, SESSION, Visitor } from "./visitor.js";

export const WRONG = `some other long password ${MARK}`;
export const NEW_PASSWORD = `quite another fine password ${MARK}`;
/** Failures in a row after which a password is disabled. */
export const MOST_FAILURES = 50;

export const PENDING = "__Host-portcullis_login";
export const DEVICE = "__Host-portcullis_device";

/** Someone with an account, and what they know and hold. */
export interface Someone {
  readonly id: string;
  readonly login: string;
  readonly authenticator: Authenticator | undefined;
  readonly recoveryCodes: readonly string[];
}

/** An app with accounts, for the attacks on them: everything is on, and its limits are the defaults. */
export class AccountsLab {
  readonly clock = new ManualClock();
  /** The app's table of users, by id. */
  readonly users = new Map<string, AccountUser>();
  readonly notices: AccountNotice[] = [];
  readonly events: string[] = [];
  readonly errors: unknown[] = [];
  readonly reached: string[] = [];
  /** Passwords that were compared with a hash, whosever it is. */
  compared = 0;
  /** Of them, those with the hash of `PASSWORD`. */
  comparedWithReal = 0;
  /** Failures of passwords that changed a record of the store. */
  written = 0;
  /** Whether passwords are hashed with argon2, for attacks on the hash itself. The other hash is a fast one. */
  hashesSlowly = false;
  readonly #app = express();
  readonly security;
  readonly accounts;
  #server: TestServer | undefined;
  #people = 0;
  #clients = 0;

  constructor() {
    const { users } = this;
    const credentials = new MemoryCredentialStore({ clock: this.clock });
    const addFailure = credentials.addFailure.bind(credentials);
    credentials.addFailure = async (...given) => {
      const failures = await addFailure(...given);
      if (failures !== undefined) this.written += 1;
      return failures;
    };
    this.security = applySecurity(
      this.#app,
      {
        secretKey: "k3Vt9sQfYb2LxWn8RzGj5HdPm7CuTa4E",
        trustedHosts: [ACCOUNTS_HOST],
        trustProxy: 1,
        rateLimit: { limit: 100_000 },
        csrf: {},
        session: {},
        jwt: {},
        apiKeys: { hash: "hmac-sha256" },
      },
      { clock: this.clock },
    );
    this.accounts = createAccounts(
      this.security,
      {
        baseUrl: ACCOUNTS_ORIGIN,
        users: {
          findByLogin: (login) =>
            [...users.values()].find((user) => [user.login, user.email].includes(login.toLowerCase())),
          findById: (id) => users.get(id),
          create: ({ login, email }) =>
            this.#add({ login: login.toLowerCase(), ...(email === undefined ? {} : { email }) }),
        },
        notify: (notice) => void this.notices.push(notice),
        factors: { required: ({ roles }) => roles?.includes("admin") === true },
        stores: { credentials },
      },
      {
        argon2: {
          hash: (text, options) => (this.hashesSlowly ? argon2.hash(text, options) : Promise.resolve(fastHash(text))),
          verify: (digest, text, options) => {
            this.compared += 1;
            if (digest === fastHash(PASSWORD)) this.comparedWithReal += 1;
            return this.hashesSlowly
              ? argon2.verify(digest, text, options)
              : Promise.resolve(digest === fastHash(text));
          },
        },
      },
    );
    this.security.events.on("*", (event) => this.events.push(JSON.stringify(event)));
    this.#routes();
  }

  async open(): Promise<void> {
    await this.security.ready();
    this.#server = await serve(this.#app);
  }

  async close(): Promise<void> {
    await this.#server?.close();
    await this.security.close();
  }

  /** A browser, or a program, at an address of its own unless told otherwise. */
  visitor(address = this.anotherAddress()): Visitor {
    if (this.#server === undefined) throw new Error("open() first");
    return new Visitor(this.#server, this.reached, address);
  }

  anotherAddress(): string {
    this.#clients += 1;
    return `198.19.${this.#clients >> 8}.${this.#clients & 255}`;
  }

  /** A name that nobody has. */
  newLogin(): string {
    this.#people += 1;
    return `${MARK.toLowerCase()}-${this.#people}@example.com`;
  }

  /** Someone with a password; with `factor` an authenticator app too. */
  async person({ factor = false, ...more }: Partial<AccountUser> & { factor?: boolean } = {}): Promise<Someone> {
    const login = this.newLogin();
    const { id } = this.#add({ login, email: login, ...more });
    await this.accounts.passwords.set(id, PASSWORD);
    const plain = { id, login, authenticator: undefined, recoveryCodes: [] };
    return factor ? this.enrol(plain) : plain;
  }

  /** Sets up an authenticator app for someone, and goes on by a step, so that a code is new. */
  async enrol(someone: Someone, browser = this.visitor()): Promise<Someone> {
    if (!browser.cookies.has(SESSION)) await browser.logIn(someone);
    const { secret } = (await browser.post("/account/totp", {})).json() as { secret: string };
    const authenticator = new Authenticator(secret);
    const confirmed = await browser.post("/account/totp/confirm", { code: authenticator.code(this.clock.now()) });
    this.clock.advance(30_000);
    return {
      ...someone,
      authenticator,
      recoveryCodes: (confirmed.json() as { recoveryCodes: string[] }).recoveryCodes,
    };
  }

  /** The code that someone's authenticator app shows, now or some steps from now. */
  code({ authenticator }: Someone, steps = 0): string {
    if (authenticator === undefined) throw new Error("no authenticator app");
    return authenticator.code(this.clock.now(), steps);
  }

  /** A code that is right at no step that counts. */
  wrongCode({ authenticator }: Someone): string {
    return authenticator?.wrong(this.clock.now()) ?? "000000";
  }

  /** Someone's browser, logged in with everything that they have. */
  async loggedIn(someone: Someone): Promise<Visitor> {
    const browser = this.visitor();
    await browser.logIn(someone);
    if (someone.authenticator !== undefined) {
      await browser.factor(this.code(someone));
      this.clock.advance(30_000);
    }
    if (!browser.cookies.has(SESSION)) throw new Error("could not log in");
    return browser;
  }

  /** A browser whose log-in owes the code. */
  async owing(someone: Someone): Promise<Visitor> {
    const browser = this.visitor();
    const { text } = await browser.logIn(someone);
    if (!text.includes("-required")) throw new Error(`nothing is owed: ${text}`);
    return browser;
  }

  /** The notices that went to a name: they are sent after the answer. */
  async noticesTo(login: string, count: number): Promise<AccountNotice[]> {
    return vi.waitFor(() => {
      const found = this.notices.filter(({ user }) => user.login === login);
      if (found.length < count) throw new Error(`${found.length} notices, not ${count}`);
      return found;
    });
  }

  /** Asks for a new password. Gives the token that stands in the mail. */
  async resetToken({ login }: Someone, count = 1): Promise<string> {
    const asked = this.notices.length;
    await this.visitor().post("/account/password/forgot", { login });
    await vi.waitFor(() => {
      if (this.notices.length === asked) throw new Error("no mail");
    });
    const links = (await this.noticesTo(login, count)).filter(({ kind }) => kind === "password-reset");
    return tokenOf(links.at(-1));
  }

  /** Registers. Gives the token that stands in the mail. */
  async registration(browser: Visitor, login: string, password = PASSWORD, count = 1): Promise<string> {
    await browser.post("/account/register", { login, password });
    return tokenOf((await this.noticesTo(login, count)).at(-1));
  }

  #add(user: Omit<AccountUser, "id">): AccountUser & { id: string } {
    const made = { ...user, id: `person-${this.users.size}` };
    this.users.set(made.id, made);
    return made;
  }

  #routes(): void {
    const app = this.#app;
    const { security, accounts } = this;
    const serveIt = (req: Request, res: Response): void => {
      this.reached.push(`${req.method} ${req.path}`);
      res.json({ id: req.principal?.id });
    };
    app.use("/account", accounts.routes());
    app.use("/elsewhere", accounts.routes());
    app.get("/me", security.requireAuth(), serveIt);
    app.get("/fresh", accounts.requireFresh(), serveIt);
    app.get("/fresh-both", accounts.requireFresh({ anyOf: [["pwd", "totp"]] }), serveIt);
    app.post("/note", (req, res) => {
      req.session.note = "planted";
      serveIt(req, res);
    });
    app.use("/keys", security.apiKeyRoutes());
    app.use("/tokens", security.tokenRoutes());
    app.post(
      "/token",
      security.requireSession(),
      security.handler(async (req, res) => {
        const { id = "", methods = [] } = req.principal ?? {};
        this.reached.push("POST /token");
        res.json(await security.jwt.issue(id, { methods }));
      }),
    );
    // What an app may do that has forgotten about factors: a log-in by a link in a mail, say.
    app.post(
      "/other-door/:id/:what",
      security.handler(async (req, res) => {
        const id = String(req.params["id"]);
        if (req.params["what"] === "session") await security.logIn(req, { id });
        if (req.params["what"] === "family") await security.jwt.issue(id);
        if (req.params["what"] === "token") await security.jwt.signAccessToken(id);
        serveIt(req, res);
      }),
    );
    app.post(
      "/act-as/:id",
      security.requireSession(),
      security.handler(async (req, res) => {
        const { id = "", methods = [] } = req.principal ?? {};
        await security.logIn(req, { id: String(req.params["id"]), methods, actor: { id } });
        serveIt(req, res);
      }),
    );
    app.use(((error: { status?: number; code?: string }, _req, res, _next) => {
      if (error.code !== "factor-required") this.errors.push(error);
      res.status(error.status ?? 500).json({ code: error.code });
    }) as ErrorRequestHandler);
  }
}

export function tokenOf(notice: AccountNotice | undefined): string {
  return new URL(notice?.link ?? "").searchParams.get("token") ?? "";
}

/** Has the form of a hash of argon2, and is made at once. */
function fastHash(text: string): string {
  const mac = createHmac("sha256", "attacks").update(text).digest("base64").replace(/=+$/, "");
  return `$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$${mac}`;
}
