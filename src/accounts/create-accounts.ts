import type { Request, Router } from "express";
import type { ResolvedSecuritySettings } from "../app-settings/schema.js";
import type { Middleware } from "../core/middleware.js";
import { moduleHostOf } from "../module-host.js";
import type { SecurityBase } from "../security.js";
import { SettingsError, type SettingsIssue } from "../settings/errors.js";
import { checked } from "../settings/object.js";
import { admission } from "./admit.js";
import { AppFunctions } from "./app-functions.js";
import { Compromise } from "./compromise.js";
import type { AccountsContext, AccountsPart } from "./context.js";
import { contradictionsWith } from "./contradictions.js";
import type { AccountsDependencies } from "./dependencies.js";
import { describeAccounts } from "./describe.js";
import type { SecondFactor } from "./factors/factor.js";
import { createFactors, secondFactors } from "./factors/factors.js";
import type { AccountFactors } from "./factors/manage.js";
import type { Arrived } from "./gate/arrival.js";
import { Deliveries } from "./gate/deliveries.js";
import { Gate } from "./gate/gate.js";
import { Holdings } from "./gate/holdings.js";
import { PendingLogIns } from "./gate/pending-log-ins.js";
import { UnfinishedLogIns } from "./gate/unfinished-log-ins.js";
import { Guarded } from "./guarded.js";
import { accountsRouter } from "./http/router.js";
import { MailLimits } from "./mail-limits.js";
import { Notices } from "./notices.js";
import type { AccountPasswords } from "./passwords/api.js";
import { createPasswords } from "./passwords/passwords.js";
import { createRegistration } from "./registration/registration.js";
import { createReset } from "./reset/reset.js";
import type { PendingLogInStatus } from "./pages/pending-log-in.js";
import { AccountSecrets } from "./secrets.js";
import { createSessions } from "./sessions/sessions.js";
import { accountsSchema, type AccountsSettings } from "./settings.js";
import { createStepUp } from "./step-up/step-up.js";
import type { FreshSettings } from "./step-up/guard.js";
import { openAccountStores, warnOfLoss } from "./stores.js";
import { Users } from "./users.js";

/** What `createAccounts` returns. */
export interface Accounts {
  /** The routes of accounts; mount them at `mountPath`. */
  routes(): Router;
  /** Passwords of people, for the app's own code. */
  readonly passwords: AccountPasswords;
  /** Second factors of people, for the app's own code. */
  readonly factors: AccountFactors;
  /**
   * A guard: only who has proved their identity recently gets through; see `FreshSettings`. Others get 401
   * `reauthentication-required` with the sets of methods that would do.
   *
   * @throws SettingsError when the options are wrong
   */
  requireFresh(options?: FreshSettings): Middleware;
  /**
   * What the log-in of this browser still owes, for the page that asks for it; `undefined` when there is none to go on with.
   *
   * @throws StoreUnavailableError (rejects)
   */
  pendingLogIn(req: Request): Promise<PendingLogInStatus | undefined>;
}

/** How long a log-in with `remember` lasts unless the settings say: no shorter than one without. */
function rememberedSeconds({ session }: ResolvedSecuritySettings): number {
  return Math.max(THIRTY_DAYS, session === false ? 0 : session.maxAge);
}

const THIRTY_DAYS = 2_592_000;

/** After the layers: 1000 is the last of them. */
const ORDER = 2000;

/**
 * Adds people's accounts to a secured app: passwords, second factors, registration and reset. The app keeps its users;
 * this part keeps what they prove. Call it once, before `security.ready()`.
 *
 * @param security what `applySecurity` returned, with sessions or `jwt` on
 * @param dependencies what tests replace
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
export function createAccounts(
  security: SecurityBase,
  settings: AccountsSettings,
  dependencies: AccountsDependencies = {},
): Accounts {
  const host = moduleHostOf("createAccounts", security);
  const { runtime } = host;
  const result = checked(accountsSchema, () => settings, []);
  const contradictions = contradictionsWith(host.settings, settings);
  if ("issues" in result) throw settingsError([...result.issues, ...contradictions], result.cause);
  if (contradictions.length > 0) throw settingsError(contradictions);
  const { rememberSeconds = rememberedSeconds(host.settings), ...others } = result.data;
  const parsed = { ...others, rememberSeconds };

  const stores = openAccountStores(host, parsed);
  const functions = new AppFunctions(runtime);
  const users = new Users(parsed.users, functions, settings.users);
  const guardedCredentials = new Guarded("credential", stores.credentials, runtime, parsed.storeTimeoutMs);
  const guardedSingleUse = new Guarded("single-use", stores.singleUse, runtime, parsed.storeTimeoutMs);
  const pending = new PendingLogIns(guardedSingleUse, runtime);
  const factors: SecondFactor[] = [];
  const arrived: Arrived[] = [];
  const holdings = new Holdings(parsed, functions, guardedCredentials, factors);
  const unfinished = new UnfinishedLogIns(host, parsed, { users, holdings, pending });
  const deliveries = new Deliveries(host, parsed, { holdings, unfinished, arrived });
  const context: AccountsContext = {
    host,
    settings: parsed,
    users,
    credentials: guardedCredentials,
    singleUse: guardedSingleUse,
    secrets: new AccountSecrets(host.settings.secretKey ?? []),
    functions,
    notices: new Notices(parsed.notify, runtime, functions),
    holdings,
    unfinished,
    deliveries,
    gate: new Gate({ users, holdings, unfinished, deliveries }),
    compromise: new Compromise(host, parsed),
    dependencies,
  };
  factors.push(...secondFactors(context));
  const passwords = createPasswords(context);
  const limits = new MailLimits(host);
  const secondFactor = createFactors(context);
  const stepUp = createStepUp(context, passwords.prove);
  const parts: readonly AccountsPart[] = [
    passwords,
    createReset(context, passwords, limits),
    createRegistration(context, passwords.maker, limits),
    secondFactor,
    stepUp,
    createSessions(context),
  ];
  for (const part of parts) if (part.arrived !== undefined) arrived.push(part.arrived);
  host.add({
    id: "accounts",
    order: ORDER,
    store: stores.place,
    lostOnRestart: stores.lostOnRestart,
    describe: () => describeAccounts(parsed),
    init: async () => {
      await Promise.all([stores.credentials.init(), stores.singleUse.init()]);
      await Promise.all(parts.map(async (part) => part.init?.()));
    },
    close: async () => {
      await Promise.all(parts.map(async (part) => part.close?.()));
      await context.notices.close();
      limits.close();
      await Promise.all([guardedCredentials.close(), guardedSingleUse.close()]);
    },
  });
  // Last, since `add` refuses a second call and a late one: what has failed asks nobody for a factor.
  runtime.gate.set(context.gate.beforeCredential);
  warnOfLoss(stores, runtime.debug);
  const routes = parts.flatMap((part) => part.routes);
  return Object.freeze({
    routes: () => accountsRouter(routes, parsed, runtime, admission(parsed, runtime.clock), host.isInForce),
    passwords: passwords.api,
    factors: secondFactor.api,
    requireFresh: stepUp.requireFresh,
    pendingLogIn: (req: Request) => unfinished.status(req),
  });
}

function settingsError(issues: readonly SettingsIssue[], cause?: unknown): SettingsError {
  return new SettingsError(issues, { call: "createAccounts()", ...(cause === undefined ? {} : { cause }) });
}
