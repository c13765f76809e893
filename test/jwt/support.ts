import { createHmac, generateKeyPairSync, type KeyObject } from "node:crypto";
import { createRuntime, type Runtime } from "../../src/core/runtime.js";
import { Secret } from "../../src/core/secret.js";
import type { SecurityEvent } from "../../src/core/events.js";
import { JwtManager } from "../../src/jwt/manager.js";
import type { JwtSettings } from "../../src/jwt/settings.js";
import { TokenError } from "../../src/jwt/errors.js";
import type { StoredRefreshToken, TokenStore } from "../../src/stores/contracts.js";
import { MemoryTokenStore } from "../../src/stores/memory/token-store.js";
import { ManualClock } from "../support/manual-clock.js";

export const ROOT = new Secret("hZ3vQ8nT1wYc7RkL0pXs5MdJf9GbU2eA-root");
/** 64 bytes and more: long enough for HS512. */
export const HMAC_SECRET = "Qm7rT2vX9kLp4WzN8cYb3HdJ6fGs1AeU5oRiK0tMwEqVxZyBnCjDgFhSuPlOaI_k-hmac";

/** Half a second into its second, so that the whole seconds of `iat` are seen to lose something. */
export const START = Date.UTC(2026, 0, 1, 12, 0, 0, 500);

export interface Bench {
  clock: ManualClock;
  runtime: Runtime;
  events: SecurityEvent[];
  store: MemoryTokenStore;
  manager: JwtManager;
}

/** A manager on a clock that moves only when told to, with its events collected. */
export function bench(settings: JwtSettings = {}, store?: TokenStore): Bench {
  const clock = new ManualClock(START);
  const runtime = createRuntime({ clock });
  const events: SecurityEvent[] = [];
  runtime.events.on("*", (event) => events.push(event));
  const memory = new MemoryTokenStore({ clock });
  return {
    clock,
    runtime,
    events,
    store: memory,
    manager: new JwtManager(settings, { runtime, store: store ?? memory, secretKey: [ROOT] }),
  };
}

/** The code of the TokenError a promise rejects with; the error itself when it is another; "fulfilled" when there is none. */
export async function codeOf(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise;
    return "fulfilled";
  } catch (error) {
    return error instanceof TokenError ? error.code : error;
  }
}

const b64 = (value: string | Buffer): string => Buffer.from(value).toString("base64url");

/** A compact JWS from raw JSON texts, so that what no library would write can be signed. HMAC only. */
export function forge(
  header: string | object,
  payload: string | object,
  secret: string | Buffer | KeyObject,
  hash = "sha256",
): string {
  const text = (value: string | object): string => (typeof value === "string" ? value : JSON.stringify(value));
  const input = `${b64(text(header))}.${b64(text(payload))}`;
  return `${input}.${createHmac(hash, secret).update(input).digest("base64url")}`;
}

/** A manager's own good claims, to be changed in one place. */
export function goodClaims(now = START): Record<string, unknown> {
  const iat = Math.floor(now / 1000);
  return { iss: "portcullis", sub: "user-1", aud: "portcullis", iat, exp: iat + 1800, jti: "token-1", scope: "read" };
}

export const GOOD_HEADER = { alg: "HS256", typ: "at+jwt" };

interface KeyPair {
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
}

/** One pair of each kind, made when first asked for. */
class KeyPairs {
  readonly #made = new Map<string, KeyPair>();

  #once(name: string, make: () => KeyPair): KeyPair {
    const made = this.#made.get(name) ?? make();
    this.#made.set(name, made);
    return made;
  }

  get rsa(): KeyPair {
    return this.#once("rsa", () => generateKeyPairSync("rsa", { modulusLength: 2048 }));
  }

  get otherRsa(): KeyPair {
    return this.#once("otherRsa", () => generateKeyPairSync("rsa", { modulusLength: 2048 }));
  }

  get weakRsa(): KeyPair {
    return this.#once("weakRsa", () => generateKeyPairSync("rsa", { modulusLength: 1024 }));
  }

  pss(hash: "sha256" | "sha512", saltLength = 32): KeyPair {
    // @types/node 20 calls saltLength a string; Node takes a number and nothing else.
    const salt = saltLength as unknown as string;
    return this.#once(`pss-${hash}-${saltLength}`, () =>
      generateKeyPairSync("rsa-pss", {
        modulusLength: 2048,
        hashAlgorithm: hash,
        mgf1HashAlgorithm: hash,
        saltLength: salt,
      }),
    );
  }

  ec(curve: "P-256" | "P-384" | "P-521" | "secp256k1"): KeyPair {
    return this.#once(curve, () => generateKeyPairSync("ec", { namedCurve: curve }));
  }

  get otherEc(): KeyPair {
    return this.#once("otherEc", () => generateKeyPairSync("ec", { namedCurve: "P-256" }));
  }

  get ed25519(): KeyPair {
    return this.#once("ed25519", () => generateKeyPairSync("ed25519"));
  }
}

export const KEYS = new KeyPairs();

export function pem(key: KeyObject): string {
  return key.export({ format: "pem", type: key.type === "private" ? "pkcs8" : "spki" }).toString();
}

/** Settings of a manager for each algorithm, with a key that fits. */
export function settingsFor(algorithm: string): JwtSettings {
  const name = algorithm as NonNullable<JwtSettings["algorithm"]>;
  switch (algorithm) {
    case "ES256":
      return { algorithm: name, privateKey: KEYS.ec("P-256").privateKey };
    case "ES384":
      return { algorithm: name, privateKey: KEYS.ec("P-384").privateKey };
    case "ES512":
      return { algorithm: name, privateKey: KEYS.ec("P-521").privateKey };
    case "EdDSA":
      return { algorithm: name, privateKey: KEYS.ed25519.privateKey };
    default:
      return algorithm.startsWith("HS")
        ? { algorithm: name, secret: HMAC_SECRET }
        : { algorithm: name, privateKey: KEYS.rsa.privateKey };
  }
}

/** A store whose calls fail, hang or are slow, in front of a real one. */
export class UnreliableStore implements TokenStore {
  trouble: "none" | "fails" | "hangs" | "slow" = "none";
  calls = 0;

  constructor(readonly inner: MemoryTokenStore) {}

  async #through<T>(call: () => T | Promise<T>): Promise<T> {
    this.calls += 1;
    if (this.trouble === "fails") throw new Error("connection refused");
    if (this.trouble === "hangs") return new Promise<T>(() => {});
    if (this.trouble === "slow") await new Promise((resolve) => setTimeout(resolve, 5));
    return call();
  }

  init = (): Promise<void> => this.#through(() => this.inner.init());
  insert = (token: StoredRefreshToken): Promise<void> => this.#through(() => this.inner.insert(token));
  get = (id: string): Promise<StoredRefreshToken | undefined> => this.#through(() => this.inner.get(id));
  rotate = (id: string, usedAt: number, successor: StoredRefreshToken, sealed: string): Promise<boolean> =>
    this.#through(() => this.inner.rotate(id, usedAt, successor, sealed));
  markUndelivered = (...args: Parameters<MemoryTokenStore["markUndelivered"]>): Promise<void> =>
    this.#through(() => this.inner.markUndelivered(...args));
  revokeFamily = (...args: Parameters<TokenStore["revokeFamily"]>): Promise<boolean> =>
    this.#through(() => this.inner.revokeFamily(...args));
  revokeSubject = (...args: Parameters<TokenStore["revokeSubject"]>): Promise<void> =>
    this.#through(() => this.inner.revokeSubject(...args));
  denyAccessToken = (...args: Parameters<TokenStore["denyAccessToken"]>): Promise<void> =>
    this.#through(() => this.inner.denyAccessToken(...args));
  denyFamily = (...args: Parameters<TokenStore["denyFamily"]>): Promise<void> =>
    this.#through(() => this.inner.denyFamily(...args));
  isRevoked = (token: Parameters<TokenStore["isRevoked"]>[0]): Promise<boolean> =>
    this.#through(() => this.inner.isRevoked(token));
  deleteExpired = (now: number): Promise<number> => this.#through(() => this.inner.deleteExpired(now));
  close = (): Promise<void> => this.#through(() => this.inner.close());
}
