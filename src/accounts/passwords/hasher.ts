import type * as Argon2 from "argon2";
import type { HashQueue } from "../../api-key/keys/hash-queue.js";

/** OWASP Password Storage Cheat Sheet: argon2id with 19 MiB, two passes, one lane. The package's number for argon2id is 2. */
const ARGON2ID = Object.freeze({ type: 2, memoryCost: 19_456, timeCost: 2, parallelism: 1 } as const);

/** Hashes passwords with argon2id. */
export class PasswordHasher {
  readonly #queue: HashQueue;
  #dummy: Promise<string> | undefined;

  constructor(queue: HashQueue) {
    this.#queue = queue;
  }

  async hash(password: string, callers: readonly string[]): Promise<string> {
    const argon2 = await loadArgon2();
    return this.#queue.run(() => argon2.hash(password.normalize("NFKC"), ARGON2ID), callers);
  }

  /** @param hash `undefined` for a person who has none: the work is the same */
  async verify(hash: string | undefined, password: string, callers: readonly string[]): Promise<boolean> {
    const argon2 = await loadArgon2();
    const against = hash ?? (await (this.#dummy ??= argon2.hash("", ARGON2ID)));
    const matches = await this.#queue.run(() => argon2.verify(against, password.normalize("NFKC")), callers);
    return matches && hash !== undefined;
  }
}

/** Loaded on first use, because it is a native module. */
function loadArgon2(): Promise<typeof Argon2> {
  return import("argon2");
}
