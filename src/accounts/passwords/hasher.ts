import { createHmac, type KeyObject, randomBytes } from "node:crypto";
import type { HashQueue, HashTarget } from "../../api-key/keys/hash-queue.js";
import type { Secret } from "../../core/secret.js";
import { SetupError } from "../../core/setup-error.js";
import { deriveKey } from "../../settings/secrets.js";
import { hashCost, hashForm } from "./hash-forms.js";
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

/** Whether a password matches a hash. */
type Verify = (text: string) => Promise<boolean>;

/** What a comparison costs that ends in a refusal. */
export interface RefusalWork {
  /** The costs of imported hashes. Default: none. */
  readonly costs?: readonly string[];
  /** Whether a right password is refused too. Default: false. */
  readonly isCertain?: boolean;
}

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
  readonly #dummy = dummyHash("$argon2id$v=19$m=19456,t=2,p=1$");

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
   * Compares a password with what is stored, in one job of the queue. A refusal does the work of a hash of ours, and of
   * each cost of an imported one, whatever is stored: neither its time nor the queue tells.
   *
   * @param stored `undefined` for a person who has none
   * @throws HashUnavailableError (rejects) when the queue is full
   * @throws SetupError (rejects) when the hash needs the package bcrypt, which is not installed
   */
  async compare(
    stored: StoredPassword | undefined,
    plain: PlainPassword,
    charge: HashCharge,
    { costs = [], isCertain = false }: RefusalWork = {},
  ): Promise<Comparison> {
    const ours = await this.#verifier(this.#dummy, this.#peppers[0]);
    const known = stored === undefined ? undefined : await this.#verifierOf(stored);
    const verify = typeof known === "function" ? known : undefined;
    const isImported = verify !== undefined && stored?.isImported === true;
    const both = [...new Set([plain.typed, plain.text])];
    const others = await this.#dummies(costs.filter((cost) => !isImported || cost !== hashCost(stored.hash)));
    const isMatch = await this.#run(async () => {
      let isRight = false;
      // Other systems hashed what was typed, or normalised it as we do.
      for (const text of isImported ? both : [plain.text]) {
        isRight = (await (verify ?? ours)(text)) || isRight;
        if (isRight && !isCertain) return true;
      }
      if (isImported) await ours(plain.text);
      for (const other of others) for (const text of both) await other(text);
      return isRight;
    }, charge);
    if (known instanceof SetupError) throw known;
    if (known === "unreadable") return known;
    return isMatch ? "match" : "mismatch";
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

  /** How to compare with a stored hash, or why nobody can. */
  async #verifierOf({ hash, pepper: id }: StoredPassword): Promise<Verify | "unreadable" | SetupError> {
    const pepper = this.#peppers.find((one) => one.id === id);
    if (hashForm(hash) === undefined || (id !== undefined && pepper === undefined)) return "unreadable";
    return this.#verifier(hash, pepper).catch((error: unknown) => {
      if (error instanceof SetupError) return error;
      throw error;
    });
  }

  /** Comparisons of these costs with hashes of nobody. Without the package bcrypt nobody's hash has its cost. */
  async #dummies(costs: readonly string[]): Promise<readonly Verify[]> {
    const verifiers = await Promise.all(
      costs.map((cost) => this.#verifierOf({ hash: dummyHash(cost), isLong: false })),
    );
    return verifiers.filter((one) => typeof one === "function");
  }

  async #verifier(hash: string, pepper: Pepper | undefined): Promise<Verify> {
    if (hashForm(hash) === "bcrypt") {
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

/** A hash of this cost whose password nobody knows: it was never made from one. */
export function dummyHash(cost: string): string {
  const random = [randomBytes(16), randomBytes(32)];
  const [salt = "", tag = ""] = random.map((bytes) => bytes.toString("base64").replace(/=+$/, ""));
  // bcrypt writes `.` for `+`, and its tag has 31 characters.
  if (cost.startsWith("$2b$")) return cost + `${salt}${tag.slice(0, 31)}`.replaceAll("+", ".");
  return `${cost}${salt}$${tag}`;
}

/** Loaded on first use, because it is a native module. */
function loadArgon2(): Promise<Argon2> {
  return import("argon2");
}
