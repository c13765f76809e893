import { HashQueue } from "../../api-key/keys/hash-queue.js";
import { announceOverload } from "../../stores/health/call-events.js";
import type { AccountsContext, AccountsPart } from "../context.js";
import { type AccountPasswords, NO_PASSWORDS, passwordsApi } from "./api.js";
import { passwordChange } from "./change.js";
import { TrustedDevices } from "./devices.js";
import { PasswordHasher } from "./hasher.js";
import { ImportedHashes } from "./imported-hashes.js";
import { passwordProof, type ProvePassword } from "./prove-again.js";
import { passwordLogIn } from "./log-in.js";
import { type PasswordMaker, passwordMaker } from "./new-password.js";
import { Nobody } from "./nobody.js";
import { PasswordProver } from "./prover.js";
import { PasswordRules } from "./rules.js";
import { PasswordUpkeep } from "./upkeep.js";

/** What the part offers: `api` to the app, `maker` to reset and registration, `devices` to reset; without passwords there are none. */
export interface PasswordsPart extends AccountsPart {
  readonly api: AccountPasswords;
  readonly maker: PasswordMaker | undefined;
  readonly devices: TrustedDevices | undefined;
  /** Checks the password of someone who is logged in; without passwords there is none. */
  readonly prove: ProvePassword | undefined;
}

/** Passwords that are hashed at once, and that wait: as many as API keys by default. */
const AT_ONCE = 2;
const MOST_WAITING = 32;

/** Passwords: log-in, change, and what the app does with them. */
export function createPasswords(context: AccountsContext): PasswordsPart {
  const { settings, host, holdings, dependencies } = context;
  const { passwords } = settings;
  if (passwords === false)
    return { api: NO_PASSWORDS, maker: undefined, devices: undefined, prove: undefined, routes: [] };
  const queue = new HashQueue(AT_ONCE, MOST_WAITING, () => announceOverload(host.runtime, "accounts", "hash-queue"));
  const { argon2 } = dependencies;
  const hasher = new PasswordHasher(queue, passwords.pepper, argon2 && (() => Promise.resolve(argon2)));
  const rules = new PasswordRules(passwords, settings, host.runtime, dependencies.breachedRanges);
  const maker = passwordMaker(rules, hasher, holdings);
  const devices = new TrustedDevices(context);
  const nobody = new Nobody(context);
  const imported = new ImportedHashes(context);
  const prover = new PasswordProver(context, passwords, hasher, devices, nobody, imported);
  const upkeep = new PasswordUpkeep(context, hasher, rules);
  return {
    api: passwordsApi(context, { rules, maker, prover, devices, imported }),
    maker,
    devices,
    prove: passwordProof(context, { prover, devices }),
    routes: [passwordLogIn(context, { prover, upkeep, devices }), passwordChange(context, { prover, maker, devices })],
    arrived: (exchange, person) => devices.welcome(exchange, person),
    init: () => nobody.init(),
  };
}
