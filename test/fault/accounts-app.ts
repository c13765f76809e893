import { hash, verify } from "argon2";
import express from "express";
import { applySecurity } from "portcullis";
import {
  type AccountNotice,
  type Accounts,
  type AccountsDependencies,
  type AccountsSettings,
  type AccountUser,
  createAccounts,
} from "portcullis/accounts";
import type { SecurityEvent } from "../../src/core/events.js";
import { Client } from "../accounts/support/app.js";
import { serve, type TestServer } from "../support/serve.js";
import type { Pace, Target } from "./load.js";
import { STORE_TIMEOUT_MS, storeEvents } from "./outage.js";

/** A log-in makes about ten calls of the store, which share this time. */
export const ACCOUNTS_TIMEOUT_MS = 4 * STORE_TIMEOUT_MS;
/** The two clients of one target make five late calls in a row in three of these times: then the outage is certain. */
export const ACCOUNTS_SILENT_MS = 4 * ACCOUNTS_TIMEOUT_MS;
const PACE: Pace = Object.freeze({ clients: 2, gapMs: 100, steadyMs: 1500 });

const OURS = "m=19456,";
const LITTLE = "m=1024,";
/** argon2 with little memory, so that this process has time for its stores: what is stored looks as it does in production. */
const quickArgon2: NonNullable<AccountsDependencies["argon2"]> = {
  hash: async (password, options) => (await hash(password, { ...options, memoryCost: 1024 })).replace(LITTLE, OURS),
  verify: (digest, password, options) => verify(digest.replace(OURS, LITTLE), password, options),
};

const LOAD = { id: "load", login: "load@example.com", password: "steady as the load of many" };
/** Nobody is limited here: all callers share the address of the loopback. */
const UNLIMITED = { limit: 1_000_000 };

/** The app's own table of people, which no fault of the stores touches, and its mailbox. */
export class People {
  readonly users = new Map<string, AccountUser>();
  readonly notices: AccountNotice[] = [];
}

export interface AccountsStack {
  readonly server: TestServer;
  readonly events: SecurityEvent[];
  readonly accounts: Accounts;
  readonly people: People;
  /** Plain, a log-in, and a look at what is stored of a person who is logged in. */
  readonly targets: readonly Target[];
  /** The time of the app, in milliseconds since the epoch. */
  now(): number;
  browser(): Client;
  close(): Promise<void>;
}

/**
 * Accounts on one database: passwords, factors, links and log-ins under way.
 *
 * @param aheadMs by how much the clock of the app is ahead, in milliseconds
 */
export async function accountsStack(database: string, people: People, aheadMs = 0): Promise<AccountsStack> {
  const app = express();
  const now = (): number => Date.now() + aheadMs;
  const security = applySecurity(
    app,
    {
      secretKey: "kZ3vQ8sW1xY6bN0mR4tU7pL2cD5fG9hJ-fault-tests",
      trustedHosts: ["127.0.0.1", "localhost"],
      debug: true,
      database,
      rateLimit: { ...UNLIMITED, storeTimeoutMs: STORE_TIMEOUT_MS },
      loginLimits: { address: UNLIMITED, accountAndAddress: UNLIMITED, account: UNLIMITED },
      session: { storeTimeoutMs: STORE_TIMEOUT_MS },
    },
    { clock: { now, monotonic: () => performance.now() } },
  );
  const settings: AccountsSettings = {
    baseUrl: "http://localhost:3000",
    storeTimeoutMs: ACCOUNTS_TIMEOUT_MS,
    users: {
      findByLogin: (login) => [...people.users.values()].find((user) => user.login === login),
      findById: (id) => people.users.get(id),
      create: ({ login, email }) => {
        const user = { id: `id-${login}`, login, email };
        people.users.set(user.id, user);
        return user;
      },
    },
    notify: (notice) => void people.notices.push(notice),
  };
  const accounts = createAccounts(security, settings, { argon2: quickArgon2 });
  app.get("/", (_req, res) => void res.send("ok"));
  app.use("/account", accounts.routes());
  await security.ready();
  const server = await serve(app);
  people.users.set(LOAD.id, LOAD);
  const browser = new Client(server);
  if (aheadMs === 0) await accounts.passwords.set(LOAD.id, LOAD.password);
  const { login, password } = LOAD;
  await browser.post("/account/login", { login, password });
  const cookies = [...browser.cookies].map(([name, value]) => `${name}=${value}`);
  const device = cookies.find((cookie) => cookie.includes("device")) ?? "";
  return {
    server,
    events: storeEvents(security.events),
    accounts,
    people,
    targets: [
      { name: "plain", path: "/", pace: PACE },
      {
        name: "log-in",
        path: "/account/login",
        method: "POST",
        headers: { cookie: device, "content-type": "application/json" },
        body: JSON.stringify({ login, password }),
        pace: { ...PACE, clients: 1 },
        isWrite: true,
      },
      { name: "factors", path: "/account/factors", headers: { cookie: cookies.join("; ") }, pace: PACE },
    ],
    now,
    browser: () => new Client(server),
    close: async () => {
      await server.close();
      await security.close();
    },
  };
}
