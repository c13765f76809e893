import express, { type Express } from "express";
import { applySecurity, type Security, type SecurityEvent, type SecuritySettings } from "portcullis";
import {
  createAccounts,
  type AccountNotice,
  type Accounts,
  type AccountsDependencies,
  type AccountsSettings,
  type AccountUser,
} from "portcullis/accounts";
import { ManualClock, testSecret } from "portcullis/testing";
import { onTestFinished } from "vitest";
import { type Answer, serve } from "../../support/serve.js";

export interface AccountsApp {
  readonly app: Express;
  readonly accounts: Accounts;
  readonly security: Security;
  readonly clock: ManualClock;
  /** The app's table of users, by id. */
  readonly users: Map<string, AccountUser>;
  readonly events: SecurityEvent[];
  readonly notices: AccountNotice[];
  /** A new browser, or program: it keeps cookies. */
  client(address?: string): Client;
}

/** Settings with which no limit of log-ins is met. */
export const NO_GUARD = {
  loginLimits: {
    address: { limit: 10_000 },
    accountAndAddress: { limit: 10_000 },
    account: { limit: 10_000 },
    maxConsecutiveFailures: false,
  },
} as const;

/** The password of every person that `person` makes. */
export const PASSWORD = "correct horse battery staple";

/**
 * A secured app with accounts over a real socket. `/me` needs a principal and shows it; `/fresh` and the like are added by
 * the tests that need them.
 */
export async function accountsApp(
  settings: Partial<AccountsSettings> = {},
  security: SecuritySettings = {},
  before: (app: Express) => void = () => undefined,
  dependencies: AccountsDependencies = {},
): Promise<AccountsApp> {
  const clock = new ManualClock();
  const users = new Map<string, AccountUser>();
  const notices: AccountNotice[] = [];
  const app = express();
  const secured = applySecurity(
    app,
    {
      trustedHosts: ["127.0.0.1", "localhost"],
      secretKey: testSecret(),
      debug: true,
      session: {},
      jwt: {},
      apiKeys: { hash: "hmac-sha256" },
      trustProxy: ["127.0.0.1"],
      rateLimit: { limit: 100_000 },
      loginLimits: { address: { limit: 10_000 }, accountAndAddress: { limit: 10_000 }, account: { limit: 10_000 } },
      ...security,
    },
    { clock },
  );
  const accounts = createAccounts(
    secured,
    {
      baseUrl: "http://localhost:3000",
      users: {
        findByLogin: (login) => [...users.values()].find((user) => user.login === login.toLowerCase()),
        findById: (id) => users.get(id),
      },
      notify: (notice) => void notices.push(notice),
      ...settings,
    },
    dependencies,
  );
  const events: SecurityEvent[] = [];
  secured.events.on("*", (event) => void events.push(event));
  before(app);
  app.use("/account", accounts.routes());
  app.get("/me", secured.requireAuth(), (req, res) => void res.json(req.principal));
  app.use("/keys", secured.apiKeyRoutes());
  app.post(
    "/token",
    secured.requireSession(),
    secured.handler(async (req, res) => {
      const { id, methods } = req.principal ?? { id: "", methods: [] };
      res.json(await secured.jwt?.issue(id, { methods }));
    }),
  );
  await secured.ready();
  const server = await serve(app);
  onTestFinished(async () => {
    await server.close();
    await secured.close();
  });
  return {
    app,
    accounts,
    security: secured,
    clock,
    users,
    events,
    notices,
    client: (address) => new Client(server, address),
  };
}

/** Makes a person with `PASSWORD`. */
export async function person(to: AccountsApp, login = "ada", more: Partial<AccountUser> = {}): Promise<AccountUser> {
  const user: AccountUser = { id: `id-${login}`, login, email: `${login}@example.com`, ...more };
  to.users.set(String(user.id), user);
  await to.accounts.passwords.set(String(user.id), PASSWORD);
  return user;
}

/** A browser or a program: it keeps the cookies that it is given. */
export class Client {
  readonly cookies = new Map<string, string>();
  readonly #server: Awaited<ReturnType<typeof serve>>;
  readonly #address: string | undefined;

  constructor(server: Awaited<ReturnType<typeof serve>>, address?: string) {
    this.#server = server;
    this.#address = address;
  }

  get(path: string, headers: Record<string, string> = {}): Promise<Answer> {
    return this.#send("GET", path, headers, undefined);
  }

  delete(path: string): Promise<Answer> {
    return this.#send("DELETE", path, {}, undefined);
  }

  /** Sends JSON. */
  post(path: string, body?: unknown, headers: Record<string, string> = {}, method = "POST"): Promise<Answer> {
    const more: Record<string, string> = body === undefined ? {} : { "content-type": "application/json" };
    return this.#send(method, path, { ...more, ...headers }, body === undefined ? undefined : JSON.stringify(body));
  }

  /** Sends a form, as a page does. */
  form(path: string, fields: Record<string, string>, headers: Record<string, string> = {}): Promise<Answer> {
    const type = { "content-type": "application/x-www-form-urlencoded", accept: "text/html" };
    return this.#send("POST", path, { ...type, ...headers }, new URLSearchParams(fields).toString());
  }

  logIn(login = "ada", password = PASSWORD, more: object = {}): Promise<Answer> {
    return this.post("/account/login", { login, password, ...more });
  }

  async #send(
    method: string,
    path: string,
    headers: Record<string, string>,
    body: string | undefined,
  ): Promise<Answer> {
    const cookie = [...this.cookies].map(([name, value]) => `${name}=${value}`).join("; ");
    const answer = await this.#server.send(path, {
      method,
      headers: {
        ...(cookie === "" ? {} : { cookie }),
        ...(this.#address === undefined ? {} : { "x-forwarded-for": this.#address }),
        ...headers,
      },
      ...(body === undefined ? {} : { body }),
    });
    if (String(answer.headers["clear-site-data"] ?? "").includes('"cookies"')) this.cookies.clear();
    for (const line of answer.headers["set-cookie"] ?? []) {
      const [pair = ""] = line.split(";");
      const name = pair.slice(0, pair.indexOf("="));
      if (/; Max-Age=0(?:;|$)/.test(line)) this.cookies.delete(name);
      else this.cookies.set(name, pair.slice(name.length + 1));
    }
    return answer;
  }
}
