import { createCipheriv, createDecipheriv, createHash, createHmac, type KeyObject, randomBytes } from "node:crypto";
import type { Secret } from "../core/secret.js";
import { deriveKey } from "../settings/secrets.js";

const TOKEN_BYTES = 32;
const TOKEN = /^[\w-]{43}$/;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** Keys of accounts, derived from `secretKey`: the first one makes, all of them read. */
export class AccountSecrets {
  readonly #seals: readonly KeyObject[];
  readonly #codes: readonly KeyObject[];

  /** @param ring at least one */
  constructor(ring: readonly Secret[]) {
    this.#seals = ring.map((secret) => deriveKey(secret, "account-seal"));
    this.#codes = ring.map((secret) => deriveKey(secret, "account-code"));
  }

  /**
   * Encrypts a secret that must be read again (AES-256-GCM).
   *
   * @param bound what the text belongs to, such as the ids of the person and the credential: in another place it cannot
   * be read
   */
  seal(plain: Buffer, bound: string): string {
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv("aes-256-gcm", this.#seals[0] as KeyObject, nonce).setAAD(Buffer.from(bound));
    const text = Buffer.concat([cipher.update(plain), cipher.final()]);
    return Buffer.concat([nonce, text, cipher.getAuthTag()]).toString("base64url");
  }

  /** The secret; `undefined` when none of the keys encrypted it for this place. */
  open(sealed: string, bound: string): Buffer | undefined {
    const bytes = Buffer.from(sealed, "base64url");
    if (bytes.length < NONCE_BYTES + TAG_BYTES) return undefined;
    for (const key of this.#seals) {
      const decipher = createDecipheriv("aes-256-gcm", key, bytes.subarray(0, NONCE_BYTES))
        .setAAD(Buffer.from(bound))
        .setAuthTag(bytes.subarray(-TAG_BYTES));
      try {
        return Buffer.concat([decipher.update(bytes.subarray(NONCE_BYTES, -TAG_BYTES)), decipher.final()]);
      } catch {
        // Encrypted with another key of the ring, or not by us.
      }
    }
    return undefined;
  }

  /** HMACs of a code, by each key: the first is what a new record keeps, all of them may be in an older one. */
  codeHashes(purpose: string, code: string): readonly string[] {
    return this.#codes.map((key) => createHmac("sha256", key).update(`${purpose}\n${code}`).digest("base64url"));
  }
}

/** A secret of 256 bits that a client holds: 43 characters. */
export function newToken(): string {
  return randomBytes(TOKEN_BYTES).toString("base64url");
}

export function isToken(text: unknown): text is string {
  return typeof text === "string" && TOKEN.test(text);
}

/** What is stored of a token: its 256 random bits need no slow hash. */
export function tokenHash(token: string): string {
  return createHash("sha256").update(token).digest("base64url");
}

/** An id for a new record: 128 bits in 22 characters. */
export function newId(): string {
  return randomBytes(16).toString("base64url");
}
