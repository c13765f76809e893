import { createHmac, type KeyObject, randomBytes } from "node:crypto";
import type { HashQueue, HashTarget } from "../../api-key/keys/hash-queue.js";
import type { Secret } from "../../core/secret.js";
import { deriveKey } from "../../settings/secrets.js";
import { hashForm } from "./hash-forms.js";
import { loadBcrypt } from "./load-bcrypt.js";
import type { PlainPassword } from "./plain-text.js";
import type { StoredPassword } from "./record.js";

/** OWASP Password Storage Cheat Sheet: argon2id with 19 MiB, two passes, one lane. The package's number for argon2id is 2. */
const ARGON2ID = Object.freeze({ type: 2, memoryCost: 19_456, timeCost: 2, parallelism: 1 } as const);
/** How a hash with these parameters begins, with a salt of 16 bytes and a tag of 32. */
const OURS = /^\$argon2id\$v=19\$m=19456,t=2,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/;

/** The most bytes of a password that bcrypt reads. */
const BCRYPT_BYTES = 72;

/** The functions of the package argon2 that are used. */
export interface Argon2 {
  /** Hashes a password; resolves with PHC text. */
  hash(password: string, options: typeof ARGON2ID & { readonly secret?: Buffer }): Promise<string>;
  /** Whether a password is the one of a hash. */
  verify(digest: string, password: string, options: { readonly secret?: Buffer }): Promise<boolean>;
}

/** What came of a comparison. "unreadable": the record is damaged, or its pepper is not in the settings. */
export type Comparison = "match" | "mismatch" | "unreadable";

/** To whom the work is charged: the address of the client, and the account that is tried. */
export interface HashCharge {
  readonly callers: readonly string[];
  readonly target?: HashTarget | undefined;
}

interface Pepper {
  /** Tells peppers apart without saying anything of them. */
  readonly id: string;
  readonly secret: Buffer;
}

/** Hashes passwords with argon2id, and compares them with what it or another system has hashed. */
export class PasswordHasher {
  readonly #queue: HashQueue;
  readonly #peppers: readonly Pepper[];
  readonly #load: () => Promise<Argon2>;
  /** Belongs to no password. */
  readonly #dummy = dummyHash();

  /**
   * @param peppers the first is for new hashes, all of them verify
   * @param load for tests
   */
  constructor(queue: HashQueue, peppers: readonly Secret[] = [], load: () => Promise<Argon2> = loadArgon2) {
    this.#queue = queue;
    this.#peppers = peppers.map(pepperOf);
    this.#load = load;
  }

  /** @throws HashUnavailableError (rejects) when the queue is full */
  async hash({ text }: PlainPassword, charge: HashCharge): Promise<Pick<StoredPassword, "hash" | "pepper">> {
    const argon2 = await this.#load();
    const pepper = this.#peppers[0];
    const hash = await this.#run(() => argon2.hash(text, { ...ARGON2ID, ...secretOf(pepper) }), charge);
    return pepper === undefined ? { hash } : { hash, pepper: pepper.id };
  }

  /**
   * Compares a password with what is stored. The work is that of a hash of ours in any case, but for hashes of other
   * systems, which have costs of their own.
   *
   * @param stored `undefined` for a person who has none
   * @throws HashUnavailableError (rejects) when the queue is full
   * @throws SetupError (rejects) when the hash needs the package bcrypt, which is not installed
   */
  async compare(stored: StoredPassword | undefined, plain: PlainPassword, charge: HashCharge): Promise<Comparison> {
    const form = stored === undefined ? undefined : hashForm(stored.hash);
    const pepper = this.#peppers.find(({ id }) => id === stored?.pepper);
    const hasPepper = stored?.pepper === undefined || pepper !== undefined;
    if (stored === undefined || form === undefined || !hasPepper) {
      await this.#work(plain, charge);
      return stored === undefined ? "mismatch" : "unreadable";
    }
    const verify = await this.#verifier(stored.hash, form, pepper).catch(async (error: unknown) => {
      await this.#work(plain, charge);
      throw error;
    });
    // Other systems hashed what was typed, or normalised it as we do.
    const texts = stored.isImported === true ? [...new Set([plain.typed, plain.text])] : [plain.text];
    for (const text of texts) if (await this.#run(() => verify(text), charge)) return "match";
    return "mismatch";
  }

  /**
   * Whether a password that was right is to be hashed anew: its hash has other parameters or another pepper than new ones.
   * bcrypt reads no more than 72 bytes: of as many or more nobody knows whether that was the whole password, so its hash stays.
   */
  isOutdated({ hash, pepper }: StoredPassword, { typed, text }: PlainPassword): boolean {
    const isCut = [typed, text].some((one) => Buffer.byteLength(one) >= BCRYPT_BYTES);
    if (isCut && hashForm(hash) === "bcrypt") return false;
    return pepper !== this.#peppers[0]?.id || !OURS.test(hash);
  }

  /** The work of a comparison, where there is nothing to compare. */
  async #work({ text }: PlainPassword, charge: HashCharge): Promise<void> {
    const argon2 = await this.#load();
    const current = secretOf(this.#peppers[0]);
    await this.#run(() => argon2.verify(this.#dummy, text, current), charge);
  }

  async #verifier(
    hash: string,
    form: "argon2" | "bcrypt",
    pepper: Pepper | undefined,
  ): Promise<(text: string) => Promise<boolean>> {
    if (form === "bcrypt") {
      const bcrypt = await loadBcrypt();
      // PHP's name for the same algorithm.
      const known = hash.replace(/^\$2y\$/, "$2b$");
      return (text) => bcrypt.compare(text, known);
    }
    const argon2 = await this.#load();
    return (text) => argon2.verify(hash, text, secretOf(pepper));
  }

  #run<T>(work: () => Promise<T>, { callers, target }: HashCharge): Promise<T> {
    return this.#queue.run(work, callers, target);
  }
}

function secretOf(pepper: Pepper | undefined): { secret?: Buffer } {
  return pepper === undefined ? {} : { secret: pepper.secret };
}

function pepperOf(secret: Secret): Pepper {
  const key: KeyObject = deriveKey(secret, "account-pepper");
  const id = createHmac("sha256", key).update("portcullis password pepper id").digest("base64url").slice(0, 8);
  return { id, secret: key.export() };
}

/** A hash like ours whose password nobody knows: it was never made from one. */
function dummyHash(): string {
  const [salt, tag] = [randomBytes(16), randomBytes(32)].map((bytes) => bytes.toString("base64").replace(/=+$/, ""));
  return `$argon2id$v=19$m=19456,t=2,p=1$${salt}$${tag}`;
}

/** Loaded on first use, because it is a native module. */
function loadArgon2(): Promise<Argon2> {
  return import("argon2");
}
