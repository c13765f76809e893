import type { Argon2 } from "./passwords/hasher.js";

/** What tests of an app with accounts replace. */
export interface AccountsDependencies {
  /** Hashes passwords. Default: the package argon2. */
  readonly argon2?: Argon2 | undefined;
  /**
   * Where the range API of Have I Been Pwned is: https, or http on this machine, with a `/` at its end. Default: its own
   * address.
   */
  readonly breachedRanges?: string | undefined;
}
