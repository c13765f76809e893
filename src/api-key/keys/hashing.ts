import { createHmac, type KeyObject, timingSafeEqual } from "node:crypto";
import type * as Argon2 from "argon2";
import type { Secret } from "../../core/secret.js";
import { deriveKey } from "../../settings/secrets.js";
import type { KeyDigest } from "../../stores/contracts.js";
import type { HashQueue, HashTarget } from "./hash-queue.js";

/**
 * OWASP Password Storage Cheat Sheet: argon2id with 19 MiB, two passes, one lane. The package's number for argon2id is
 * 2.
 */
const ARGON2ID = Object.freeze({ type: 2, memoryCost: 19_456, timeCost: 2, parallelism: 1 } as const);

const PHC =
  /^\$argon2id\$v=\d{1,3}\$[mtp]=\d{1,9},[mtp]=\d{1,9},[mtp]=\d{1,9}\$[A-Za-z0-9+/]{11,86}\$[A-Za-z0-9+/]{22,172}$/;

/** The result of a comparison. "unreadable": the record's digest is damaged, or its pepper is not in the settings. */
export type Comparison = "match" | "mismatch" | "unreadable";

interface Pepper {
  /** Identifies the pepper in a digest without revealing it, so that peppers can be rotated. */
  readonly id: string;
  readonly key: KeyObject;
}

function pepperOf(secret: Secret): Pepper {
  const key = deriveKey(secret, "api-key-hash");
  return { id: createHmac("sha256", key).update("portcullis api-key pepper id").digest("base64url").slice(0, 8), key };
}

/**
 * Computes and compares digests of keys. The hash covers the whole key with its id, so a digest copied to another
 * record matches no key.
 */
export class KeyHasher {
  readonly #algorithm: KeyDigest["algorithm"];
  readonly #peppers: readonly Pepper[];
  readonly #queue: HashQueue;

  constructor(algorithm: KeyDigest["algorithm"], secrets: readonly Secret[], queue: HashQueue) {
    this.#algorithm = algorithm;
    this.#peppers = secrets.map(pepperOf);
    this.#queue = queue;
  }

  /**
   * @param callers the parties that the place in the queue is charged to
   * @throws HashUnavailableError (rejects) when the argon2 queue is full
   */
  async digest(key: string, callers: readonly string[] = []): Promise<KeyDigest> {
    const pepper = this.#peppers[0];
    if (this.#algorithm === "hmac-sha256" && pepper !== undefined) {
      return { algorithm: "hmac-sha256", digest: `${pepper.id}.${mac(pepper, key).toString("base64url")}` };
    }
    const argon2 = await loadArgon2();
    return { algorithm: "argon2id", digest: await this.#queue.run(() => argon2.hash(key, ARGON2ID), callers) };
  }

  /**
   * @param callers the party that the place in the queue is charged to: the address
   * @throws HashUnavailableError (rejects) when the argon2 queue is full
   */
  async compare(
    key: string,
    { algorithm, digest }: KeyDigest,
    callers: readonly string[] = [],
    target?: HashTarget,
  ): Promise<Comparison> {
    if (algorithm === "hmac-sha256") return this.#compareMac(key, digest);
    if (!PHC.test(digest)) return "unreadable";
    const argon2 = await loadArgon2();
    return (await this.#queue.run(() => argon2.verify(digest, key), callers, target)) ? "match" : "mismatch";
  }

  /** Whether a digest uses another algorithm, pepper or parameters than new digests do. */
  async isOutdated({ algorithm, digest }: KeyDigest): Promise<boolean> {
    if (algorithm !== this.#algorithm) return true;
    if (algorithm === "hmac-sha256") return !digest.startsWith(`${this.#peppers[0]?.id}.`);
    return (await loadArgon2()).needsRehash(digest, ARGON2ID);
  }

  #compareMac(key: string, digest: string): Comparison {
    const dot = digest.indexOf(".");
    const pepper = this.#peppers.find(({ id }) => id === digest.slice(0, dot));
    const kept = Buffer.from(digest.slice(dot + 1), "base64url");
    if (pepper === undefined || kept.length !== 32) return "unreadable";
    return timingSafeEqual(kept, mac(pepper, key)) ? "match" : "mismatch";
  }
}

function mac(pepper: Pepper, key: string): Buffer {
  return createHmac("sha256", pepper.key).update(key).digest();
}

/** Loaded on first use, because it is a native module that hmac-sha256 does not need. */
function loadArgon2(): Promise<typeof Argon2> {
  return import("argon2");
}
