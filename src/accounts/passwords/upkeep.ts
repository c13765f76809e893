import { HashUnavailableError } from "../../api-key/keys/hash-queue.js";
import type { StoreTime } from "../../stores/health/store-time.js";
import type { AccountsContext } from "../context.js";
import type { Person } from "../types.js";
import type { HashCharge, PasswordHasher } from "./hasher.js";
import type { PasswordProof } from "./prover.js";
import { passwordData, type StoredPassword } from "./record.js";
import type { PasswordRules } from "./rules.js";

/** What a log-in does for the password, which is known only then: a new hash, and the check that could not be made. */
export class PasswordUpkeep {
  readonly #context: AccountsContext;
  readonly #hasher: PasswordHasher;
  readonly #rules: PasswordRules;

  constructor(context: AccountsContext, hasher: PasswordHasher, rules: PasswordRules) {
    this.#context = context;
    this.#hasher = hasher;
    this.#rules = rules;
  }

  /** @throws StoreUnavailableError (rejects) */
  async after(
    person: Person,
    { plain, credential, stored }: PasswordProof & { readonly ok: true },
    charge: HashCharge,
    time: StoreTime,
  ): Promise<void> {
    let next: StoredPassword = stored;
    if (this.#hasher.isOutdated(stored, plain)) {
      const made = await time.besides(() => this.#hasher.hash(plain, charge)).catch(ignoreFullQueue);
      if (made !== undefined)
        next = { ...made, isLong: this.#rules.isLong(plain.text), breach: stored.breach ?? this.#unchecked(stored) };
    }
    if (next.breach === "not-checked") {
      const breach = await time.besides(() => this.#rules.breach(plain.text));
      if (breach !== "not-checked") next = { ...next, breach: breach === "found" ? breach : undefined };
    }
    if (next === stored) return;
    const update = { id: credential.id, version: credential.version, data: passwordData(next) };
    // Another log-in may have done it, or the password is a new one meanwhile.
    const isDone = await this.#context.credentials.write(
      (store, call) => store.change(person.id, { update: [update] }, call),
      person.id,
      time,
    );
    if (isDone && next.breach === "found") this.#tell(person);
  }

  /** The rules have never seen the password of another system. */
  #unchecked({ isImported }: StoredPassword): "not-checked" | undefined {
    return isImported === true ? "not-checked" : undefined;
  }

  #tell({ id, user }: Person): void {
    this.#context.host.runtime.events.emit("user_updated", () => ({
      source: "accounts",
      reason: "password-breached",
      subject: id,
    }));
    this.#context.notices.send({ kind: "password-breached", user });
  }
}

/** The next log-in makes the new hash. */
function ignoreFullQueue(error: unknown): undefined {
  if (!(error instanceof HashUnavailableError)) throw error;
}
