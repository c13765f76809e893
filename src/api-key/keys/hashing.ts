import { createHmac, type KeyObject, timingSafeEqual } from "node:crypto";
import type * as Argon2 from "argon2";
import type { Secret } from "../../core/secret.js";
import { deriveKey } from "../../settings/secrets.js";
import type { KeyDigest } from "../../stores/contracts.js";
import type { HashQueue, HashTarget } from "./hash-queue.js";

/** OWASP Password Storage Cheat Sheet: argon2id with 19 MiB, two passes, one lane. 2 is the package's number for argon2id. */
export const ARGON2ID = Object.freeze({ type: 2, memoryCost: 19_456, timeCost: 2, parallelism: 1 } as const);

const PHC =
  /^\$argon2id\$v=\d{1,3}\$[mtp]=\d{1,9},[mtp]=\d{1,9},[mtp]=\d{1,9}\$[A-Za-z0-9+/]{11,86}\$[A-Za-z0-9+/]{22,172}$/;

/** What a comparison found. "unreadable": the record's digest is damaged, or its pepper is not among the settings. */
export type Comparison = "match" | "mismatch" | "unreadable";

interface Pepper {
  /** Names the pepper in a digest without revealing it, so that peppers can be rotated. */
  readonly id: string;
  readonly key: KeyObject;
}

function pepperOf(secret: Secret): Pepper {
  const key = deriveKey(secret, "api-key-hash");
  return { id: createHmac("sha256", key).update("portcullis api-key pepper id").digest("base64url").slice(0, 8), key };
}

/**
 * Turns whole keys into digests and compares them. The whole key is hashed, its id included, so a digest copied to
 * another record matches nothing.
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
   * @param callers whom the place in the queue is charged to
   * @throws HashUnavailableError (rejects) when argon2 has no place left
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
   * @param callers whom the place in the queue is charged to: the address
   * @throws HashUnavailableError (rejects) when argon2 has no place left
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

  /** Whether a digest is of another algorithm, pepper or parameters than new ones. */
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

/** Loaded on first use: a native module that a fleet on hmac-sha256 never needs. */
function loadArgon2(): Promise<typeof Argon2> {
  return import("argon2");
}
