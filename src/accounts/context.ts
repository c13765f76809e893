import type { ModuleHost } from "../module-host.js";
import type { CredentialStore, SingleUseStore } from "../stores/contracts.js";
import type { AppFunctions } from "./app-functions.js";
import type { Compromise } from "./compromise.js";
import type { AccountsDependencies } from "./dependencies.js";
import type { Arrived } from "./gate/arrival.js";
import type { Deliveries } from "./gate/deliveries.js";
import type { Gate } from "./gate/gate.js";
import type { Holdings } from "./gate/holdings.js";
import type { UnfinishedLogIns } from "./gate/unfinished-log-ins.js";
import type { Guarded } from "./guarded.js";
import type { Route } from "./http/route.js";
import type { Notices } from "./notices.js";
import type { AccountSecrets } from "./secrets.js";
import type { ResolvedAccountsSettings } from "./settings.js";
import type { Users } from "./users.js";

/** What the parts of accounts share. */
export interface AccountsContext {
  readonly host: ModuleHost;
  readonly settings: ResolvedAccountsSettings;
  readonly functions: AppFunctions;
  readonly users: Users;
  readonly credentials: Guarded<CredentialStore>;
  readonly singleUse: Guarded<SingleUseStore>;
  readonly secrets: AccountSecrets;
  readonly notices: Notices;
  readonly holdings: Holdings;
  readonly unfinished: UnfinishedLogIns;
  /** Without `deliver`, which is the gate's alone. */
  readonly deliveries: Pick<Deliveries, "undeliverable" | "renew">;
  readonly gate: Gate;
  readonly compromise: Compromise;
  readonly dependencies: AccountsDependencies;
}

/** A way in, or a part of an account: its routes, and its place in `ready` and `close`. */
export interface AccountsPart {
  readonly routes: readonly Route[];
  /** Called when a session has been made. */
  readonly arrived?: Arrived;
  /** Called when the stores can be used. */
  init?(): Promise<void>;
  close?(): Promise<void>;
}
