import { createSecretKey, hkdfSync, type KeyObject } from "node:crypto";
import type { Secret } from "../../core/secret.js";
import { SettingsError } from "../../settings/errors.js";
import { deriveKey } from "../../settings/secrets.js";
import { familyOf, hashBits, type JwtAlgorithm } from "./algorithms.js";
import { derivedKid, publicHalf } from "./key-ids.js";
import type { ResolvedJwtSettings } from "../settings.js";

interface RingKey {
  readonly kid: string;
  readonly verifies: KeyObject;
}

/**
 * The keys of one manager, parsed once to KeyObjects: a string would be parsed again on each call, at thirty times the
 * cost (auth0/node-jsonwebtoken#1046). The first key signs, all keys verify.
 */
export class KeyRing {
  readonly algorithm: JwtAlgorithm;
  readonly signingKid: string;
  readonly #signingKey: KeyObject;
  readonly #byKid: ReadonlyMap<string, RingKey>;

  private constructor(algorithm: JwtAlgorithm, keys: readonly { kid: string | undefined; key: KeyObject }[]) {
    const [first] = keys;
    if (first === undefined) throw new TypeError("A key ring needs at least one key.");
    this.algorithm = algorithm;
    const byKid = new Map<string, RingKey>();
    for (const { kid, key } of keys) {
      const name = kid ?? derivedKid(key);
      if (!byKid.has(name)) byKid.set(name, { kid: name, verifies: key.type === "secret" ? key : publicHalf(key) });
    }
    this.signingKid = first.kid ?? derivedKid(first.key);
    this.#signingKey = first.key;
    this.#byKid = byKid;
  }

  /**
   * @param secretKey the root secrets, from which keys are derived when the options have none
   * @returns `undefined` when there is neither a key nor a root secret, but other issuers: the manager only verifies
   * @throws SettingsError when there is neither a key nor a root secret
   */
  static from(options: ResolvedJwtSettings, secretKey: readonly Secret[] | undefined): KeyRing | undefined {
    const { algorithm } = options;
    if (options.privateKey !== undefined) return new KeyRing(algorithm, [{ kid: undefined, key: options.privateKey }]);
    if (options.keys !== undefined) {
      return new KeyRing(
        algorithm,
        options.keys.flatMap(({ kid, secret, privateKey, publicKey }) => {
          const key = secret === undefined ? (privateKey ?? publicKey) : secretKeyOf(secret);
          return key === undefined ? [] : [{ kid, key }];
        }),
      );
    }
    if (options.secret !== undefined)
      return new KeyRing(
        algorithm,
        options.secret.map((secret) => ({ kid: undefined, key: secretKeyOf(secret) })),
      );
    if (familyOf(algorithm) === "HS" && secretKey !== undefined && secretKey.length > 0) {
      return new KeyRing(
        algorithm,
        secretKey.map((secret) => ({ kid: undefined, key: derivedKey(secret, algorithm) })),
      );
    }
    if (options.issuers !== undefined) return undefined;
    throw new SettingsError([
      {
        code: "missing-setting",
        path: "secret",
        message: "JWTs need a secret or a private key for signing.",
        remedy: "Set secret, privateKey or keys.",
      },
    ]);
  }

  get signingKey(): KeyObject {
    return this.#signingKey;
  }

  get kids(): readonly string[] {
    return [...this.#byKid.keys()];
  }

  /**
   * Returns the key that verifies a token with this `kid`. A token without a `kid` is accepted only when the ring has
   * one key.
   */
  find(kid: string | undefined): KeyObject | undefined {
    if (kid !== undefined) return this.#byKid.get(kid)?.verifies;
    if (this.#byKid.size !== 1) return undefined;
    for (const { verifies } of this.#byKid.values()) return verifies;
    return undefined;
  }

  /** Returns the public keys by kid; none for an HMAC ring, whose keys are all secret. */
  publicKeys(): readonly { kid: string; key: KeyObject }[] {
    return [...this.#byKid.values()]
      .filter(({ verifies }) => verifies.type === "public")
      .map(({ kid, verifies }) => ({ kid, key: verifies }));
  }
}

function secretKeyOf(secret: Secret): KeyObject {
  return createSecretKey(Buffer.from(secret.reveal()));
}

/**
 * RFC 7518 section 3.2: the key is as long as the hash. Each length has its own label; otherwise the first half of a
 * longer key would be the key of HS256.
 */
function derivedKey(secret: Secret, algorithm: JwtAlgorithm): KeyObject {
  if (algorithm === "HS256") return deriveKey(secret, "jwt");
  return createSecretKey(
    Buffer.from(
      hkdfSync("sha256", secret.reveal(), Buffer.alloc(0), `portcullis/v1/jwt/${algorithm}`, hashBits(algorithm) / 8),
    ),
  );
}
