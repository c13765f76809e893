import { createPublicKey, type KeyObject } from "node:crypto";
import type { JwtAlgorithm } from "../keys/algorithms.js";
import { derivedKid } from "../keys/key-ids.js";
import { keyProblem } from "../keys/validation.js";
import { FetchProblem } from "../../core/http/fetch-text.js";

/** A public key of another issuer. */
export interface IssuerKey {
  readonly kid: string | undefined;
  readonly key: KeyObject;
  /** The algorithms of the settings that the key is for. */
  readonly algorithms: readonly JwtAlgorithm[];
  /** Tells the key from all others, whatever its `kid`. */
  readonly thumbprint: string;
  /** True once the issuer no longer publishes the key: tokens signed with it are refused. */
  isGone: boolean;
}

const MAX_KEYS = 100;
/** Longest `kid`, in characters. */
export const MAX_KID = 255;
/** Members of a private or symmetric key. A key that was published is no secret. */
const SECRET_MEMBERS = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/**
 * Reads a key set (RFC 7517 section 5). Keys for other purposes or of other kinds are left out, and so are weak ones,
 * and two keys that no `kid` tells apart.
 *
 * @param algorithms those of the settings
 * @throws FetchProblem when this is no key set, is too long, or has no key that can be used
 */
export function keysOf(document: unknown, algorithms: readonly JwtAlgorithm[]): IssuerKey[] {
  const list = isObject(document) ? document.keys : undefined;
  if (!Array.isArray(list)) throw new FetchProblem("no-key-set");
  if (list.length > MAX_KEYS) throw new FetchProblem("too-many-keys");
  const keys = new Map<string, IssuerKey>();
  for (const jwk of list as readonly unknown[]) {
    const key = keyOf(jwk, algorithms);
    if (key !== undefined) keys.set(`${key.thumbprint} ${key.algorithms.join()} ${key.kid ?? ""}`, key);
  }
  if (keys.size === 0) throw new FetchProblem("no-usable-key");
  return [...keys.values()];
}

/**
 * The key for a token with this header. Without `kid`, and for two keys of one `kid`, only if there is no choice.
 */
export function findKey(
  keys: readonly IssuerKey[],
  kid: string | undefined,
  algorithm: JwtAlgorithm,
): IssuerKey | undefined {
  const found = keys.filter((key) => (kid === undefined || key.kid === kid) && key.algorithms.includes(algorithm));
  return found.length === 1 ? found[0] : undefined;
}

function keyOf(jwk: unknown, algorithms: readonly JwtAlgorithm[]): IssuerKey | undefined {
  if (!isObject(jwk) || SECRET_MEMBERS.some((name) => Object.hasOwn(jwk, name))) return undefined;
  const { kid, use, key_ops: operations, alg } = jwk;
  if (kid !== undefined && (typeof kid !== "string" || kid.length > MAX_KID)) return undefined;
  if (use !== undefined && use !== "sig") return undefined;
  if (operations !== undefined && !(Array.isArray(operations) && operations.includes("verify"))) return undefined;
  try {
    const key = createPublicKey({ key: jwk, format: "jwk" });
    const fitting = algorithms.filter(
      (algorithm) => (alg === undefined || alg === algorithm) && keyProblem(key, algorithm) === undefined,
    );
    if (fitting.length === 0) return undefined;
    return { kid, key, algorithms: fitting, thumbprint: derivedKid(key), isGone: false };
  } catch {
    // Another type of key, a point that is not on its curve, members that are not base64url.
    return undefined;
  }
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
