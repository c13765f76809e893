import type { Request } from "express";
import type { ApiKeyService } from "./api-key/service.js";
import type { ResolvedSecuritySettings } from "./app-settings/schema.js";
import type { Runtime } from "./core/runtime.js";
import { SetupError } from "./core/setup-error.js";
import type { JwtManager } from "./jwt/manager.js";
import type { LoginCounters } from "./rate-limit/login-counters.js";
import type { SecurityBase } from "./security.js";
import type { SessionLayer } from "./session/middleware.js";
import type { RateLimitStore } from "./stores/contracts.js";
import type { AccountStores } from "./stores/open.js";

/** Where a module finds what `applySecurity` made. Registered, because an app may load two copies of the package. */
const MODULE_HOST: unique symbol = Symbol.for("portcullis.module-host") as never;

/** A part of the library beyond the layers, in a sub-path of its own: its place in `ready`, `close` and `describe`. */
export interface SecurityModule {
  readonly id: "accounts";
  /** After the layers. */
  readonly order: number;
  /** Where it keeps its records, as `describe()` shows it. */
  store(): string;
  /** What a restart loses; `undefined` for nothing. */
  readonly lostOnRestart: string | undefined;
  /** The effective settings, JSON-able, secrets as `[secret]`. */
  describe(): Record<string, unknown>;
  init(): Promise<void>;
  close(): Promise<void>;
}

/** What a module builds on. */
export interface ModuleHost {
  readonly runtime: Runtime;
  readonly settings: ResolvedSecuritySettings;
  readonly session: SessionLayer | undefined;
  readonly jwt: JwtManager | undefined;
  readonly apiKeys: ApiKeyService | undefined;
  readonly limits: RateLimitStore;
  /** Whether the session or the token of a request is in force still, in any process. Never rejects. */
  isInForce(req: Request): Promise<boolean>;
  /** Opens the stores of accounts. */
  accountStores(): AccountStores;
  /** The counters of log-ins, which `loginGuard` uses too. */
  loginCounters(): LoginCounters;
  /** @throws SetupError when `ready()` has been called, or there is such a module */
  add(module: SecurityModule): void;
}

export function offerModules(security: SecurityBase, host: ModuleHost): void {
  Object.defineProperty(security, MODULE_HOST, { value: host });
}

/** @throws SetupError when the argument is not what `applySecurity` returned */
export function moduleHostOf(factory: string, security: unknown): ModuleHost {
  const host = (security as { [MODULE_HOST]?: ModuleHost } | null | undefined)?.[MODULE_HOST];
  if (host === undefined)
    throw new SetupError(
      `${factory} needs what applySecurity returned as its first argument: const security = applySecurity(app, settings); ${factory}(security, { … }).`,
    );
  return host;
}
