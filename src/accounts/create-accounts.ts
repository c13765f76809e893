import type { Router } from "express";
import { moduleHostOf } from "../module-host.js";
import type { SecurityBase } from "../security.js";
import { SettingsError, type SettingsIssue } from "../settings/errors.js";
import { GENERATE_SECRET } from "../settings/secrets.js";
import { parse } from "../settings/object.js";
import { MemoryCredentialStore } from "../stores/memory/credential-store.js";
import { MemorySingleUseStore } from "../stores/memory/single-use-store.js";
import { admission } from "./admit.js";
import { Compromise } from "./compromise.js";
import type { AccountsContext, AccountsPart } from "./context.js";
import type { SecondFactor } from "./factors/factor.js";
import { Gate } from "./gate/gate.js";
import { PendingLogIns } from "./gate/pending-log-ins.js";
import { Guarded } from "./guarded.js";
import { accountsRouter } from "./http/router.js";
import { MailLimits } from "./mail-limits.js";
import { Notices } from "./notices.js";
import { type AccountPasswords, createPasswords } from "./passwords/passwords.js";
import { createRegistration } from "./registration/registration.js";
import { createReset } from "./reset/reset.js";
import { AccountSecrets } from "./secrets.js";
import { createSessions } from "./sessions.js";
import { accountsSchema, type AccountsSettings } from "./settings.js";
import { Users } from "./users.js";

/** What `createAccounts` returns. */
export interface Accounts {
  /** The routes of accounts; mount them at `mountPath`. */
  routes(): Router;
  /** Passwords of people, for the app's own code. */
  readonly passwords: AccountPasswords;
}

/** After the layers: 1000 is the last of them. */
const ORDER = 2000;

/**
 * Adds people's accounts to a secured app: passwords, second factors, registration and reset. The app keeps its users;
 * this part keeps what they prove. Call it once, before `security.ready()`.
 *
 * @param security what `applySecurity` returned, with sessions or `jwt` on
 * @throws SettingsError listing everything that is wrong with the settings
 * @throws SetupError when the first argument is something else, or it is called twice or after `ready()`
 *
 * @example
 * ```ts
 * import express from "express";
 * import { applySecurity } from "portcullis";
 * import { createAccounts } from "portcullis/accounts";
 *
 * const users = new Map([["ada", { id: "1", login: "ada" }]]);
 * const app = express();
 * const security = applySecurity(app, {
 *   trustedHosts: ["app.example.com"], secretKey: process.env.SECRET_KEY, session: {}, database: "sqlite:app.db",
 * });
 * const accounts = createAccounts(security, {
 *   baseUrl: "https://app.example.com",
 *   users: {
 *     findByLogin: (login) => users.get(login),
 *     findById: (id) => [...users.values()].find((user) => user.id === id),
 *   },
 * });
 * app.use("/account", accounts.routes());
 * await security.ready();
 * ```
 */
export function createAccounts(security: SecurityBase, settings: AccountsSettings): Accounts {
  const host = moduleHostOf("createAccounts", security);
  const { runtime } = host;
  const parsed = parse(accountsSchema, settings, "createAccounts()");
  const issues = missingParts(host.settings);
  if (issues.length > 0) throw new SettingsError(issues, { call: "createAccounts()" });

  const stores = host.accountStores();
  const credentials = parsed.stores.credentials ?? stores.credentials ?? new MemoryCredentialStore();
  const singleUse = parsed.stores.singleUse ?? stores.singleUse ?? new MemorySingleUseStore();
  const users = new Users(parsed.users, runtime);
  const guardedCredentials = new Guarded("credential", credentials, runtime, parsed.storeTimeoutMs);
  const guardedSingleUse = new Guarded("single-use", singleUse, runtime, parsed.storeTimeoutMs);
  const pending = new PendingLogIns(guardedSingleUse, runtime);
  const factors: SecondFactor[] = [];
  const context: AccountsContext = {
    host,
    settings: parsed,
    users,
    credentials: guardedCredentials,
    singleUse: guardedSingleUse,
    secrets: new AccountSecrets(host.settings.secretKey ?? []),
    notices: new Notices(parsed.notify, runtime),
    gate: new Gate(host, parsed, { users, credentials: guardedCredentials, pending, factors }),
    compromise: new Compromise(host, parsed),
  };
  const passwords = createPasswords(context);
  const limits = new MailLimits(host);
  const parts: readonly AccountsPart[] = [
    passwords,
    createReset(context, passwords.maker, limits),
    createRegistration(context, passwords.maker, limits),
    createSessions(context),
  ];
  runtime.gate.set(context.gate.beforeCredential);
  host.add({
    id: "accounts",
    order: ORDER,
    store: () => stores.places().credentials,
    lostOnRestart: undefined,
    describe: () => ({ baseUrl: parsed.baseUrl, mountPath: parsed.mountPath }),
    init: async () => {
      await Promise.all([credentials.init(), singleUse.init(), ...parts.map((part) => part.init?.())]);
    },
    close: async () => {
      await Promise.all(parts.map((part) => part.close?.()));
      await context.notices.close();
      limits.close();
      await Promise.all([credentials.close(), singleUse.close()]);
    },
  });
  const routes = parts.flatMap((part) => part.routes);
  return Object.freeze({
    routes: () => accountsRouter(routes, parsed, runtime, admission(parsed, runtime.clock)),
    passwords: passwords.api,
  });
}

/** What accounts need of the settings of the app. */
function missingParts({
  session,
  jwt,
  secretKey,
}: {
  session: unknown;
  jwt: unknown;
  secretKey?: unknown;
}): SettingsIssue[] {
  const issues: SettingsIssue[] = [];
  if (secretKey === undefined)
    issues.push({
      code: "missing-setting",
      path: "secretKey",
      message: "Accounts encrypt and sign with keys derived from secretKey of applySecurity, which is not set.",
      remedy: `Set secretKey. ${GENERATE_SECRET}`,
    });
  if (session === false && jwt === false)
    issues.push({
      code: "contradiction",
      path: "session",
      message: "People log in, but neither sessions nor tokens are on.",
      remedy: "Turn one on: applySecurity(app, { session: {} }).",
    });
  return issues;
}
