import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  createSecretKey,
  hkdfSync,
  randomBytes,
  timingSafeEqual,
  type KeyObject,
} from "node:crypto";
import type { Secret } from "../../core/secret.js";
import { deriveKey } from "../../settings/secrets.js";
import type { ResolvedJwtSettings } from "../settings.js";

/** The two halves of a refresh token: the id locates the record, the secret proves that the caller has the token. */
export interface RefreshToken {
  readonly id: string;
  /** 256 random bits, base64url. */
  readonly secret: string;
}

/**
 * `rt_`, 128 bits of id, a dot, 256 bits of secret. Secret scanners recognise the prefix, and no access token has this
 * form.
 */
const FORM = /^rt_([A-Za-z0-9_-]{22})\.([A-Za-z0-9_-]{43})$/;

export function newRefreshToken(): RefreshToken {
  return { id: randomBytes(16).toString("base64url"), secret: randomBytes(32).toString("base64url") };
}

export function formatRefreshToken({ id, secret }: RefreshToken): string {
  return `rt_${id}.${secret}`;
}

/** Returns the halves of a presented token, or `undefined` when its form is wrong. */
export function parseRefreshToken(text: unknown): RefreshToken | undefined {
  if (typeof text !== "string" || text.length !== 69) return undefined;
  const [, id, secret] = FORM.exec(text) ?? [];
  return id === undefined || secret === undefined ? undefined : { id, secret };
}

/**
 * Returns the secrets that key the hashes: the root secrets first, then the HMAC secrets of the tokens. Empty when
 * there are only key pairs.
 */
export function refreshPeppers(
  options: ResolvedJwtSettings,
  secretKey: readonly Secret[] | undefined,
): readonly Secret[] {
  const own = [...(options.secret ?? []), ...(options.keys ?? []).flatMap(({ secret }) => secret ?? [])];
  return [...(secretKey ?? []), ...own];
}

interface Pepper {
  readonly hash: KeyObject;
  readonly seal: KeyObject;
}

/**
 * Hashes and encrypts the secrets of refresh tokens. The hash is an HMAC under a key of the server, so that an attacker
 * with write access to the store cannot insert a token. The successor's secret is encrypted under a key derived from
 * both the presented token and the server's key: neither the store nor an old token is enough to read it.
 */
export class RefreshSecrets {
  readonly #peppers: readonly [Pepper, ...Pepper[]];

  /**
   * @param secrets the first hashes and encrypts, all verify; if empty, the keys are publicly known, which amounts to a
   * plain hash (enough for 256 random bits)
   */
  constructor(secrets: readonly Secret[]) {
    const [first, ...others] = secrets.map((secret) => pepperFrom(deriveKey(secret, "refresh-token")));
    this.#peppers =
      first === undefined
        ? [pepperFrom(createSecretKey(Buffer.from("portcullis/v1/refresh-token")))]
        : [first, ...others];
  }

  hash(secret: string): string {
    return hashWith(this.#peppers[0], secret);
  }

  /** Compares the secret in constant time with the hash under each of the server's keys. */
  matches(secret: string, hash: string): boolean {
    const expected = Buffer.from(hash);
    return this.#peppers.some((pepper) => {
      const actual = Buffer.from(hashWith(pepper, secret));
      return actual.length === expected.length && timingSafeEqual(actual, expected);
    });
  }

  /**
   * Encrypts the successor's secret with AES-256-GCM. The ids are authenticated too, so that the ciphertext cannot be
   * moved to another record.
   */
  seal(presented: RefreshToken, successor: RefreshToken): string {
    const iv = randomBytes(12);
    const cipher = createCipheriv("aes-256-gcm", sealKey(this.#peppers[0], presented.secret), iv);
    cipher.setAAD(Buffer.from(`${presented.id}.${successor.id}`));
    const sealed = Buffer.concat([cipher.update(successor.secret, "utf8"), cipher.final()]);
    return Buffer.concat([iv, cipher.getAuthTag(), sealed]).toString("base64url");
  }

  /** Decrypts the successor's secret; returns `undefined` when the ciphertext is not authentic. */
  open(presented: RefreshToken, successorId: string, sealed: string): string | undefined {
    const bytes = Buffer.from(sealed, "base64url");
    for (const pepper of this.#peppers) {
      try {
        const decipher = createDecipheriv("aes-256-gcm", sealKey(pepper, presented.secret), bytes.subarray(0, 12), {
          authTagLength: 16,
        });
        decipher.setAAD(Buffer.from(`${presented.id}.${successorId}`));
        decipher.setAuthTag(bytes.subarray(12, 28));
        return Buffer.concat([decipher.update(bytes.subarray(28)), decipher.final()]).toString("utf8");
      } catch {
        // Encrypted under another of the server's keys, or damaged.
      }
    }
    return undefined;
  }
}

/**
 * Derives separate keys for hashing and encryption. With a single key, the pseudorandom key inside HKDF (RFC 5869
 * section 2.2: an HMAC of the secret) would equal the hash in the store.
 */
function pepperFrom(root: KeyObject): Pepper {
  const derive = (label: string): KeyObject => createSecretKey(createHmac("sha256", root).update(label).digest());
  return { hash: derive("hash"), seal: derive("seal") };
}

function hashWith(pepper: Pepper, secret: string): string {
  return createHmac("sha256", pepper.hash).update(secret).digest("base64url");
}

function sealKey(pepper: Pepper, secret: string): Buffer {
  return Buffer.from(hkdfSync("sha256", secret, pepper.seal.export(), "portcullis/v1/refresh-seal", 32));
}
