import { deepFreeze } from "../../core/deep-freeze.js";
import type { Runtime } from "../../core/runtime.js";
import { inspectHeader, type UnverifiedToken } from "../access/inspect-token.js";
import { verifyWithJose } from "../access/jose-signatures.js";
import type { VerifiedTokens } from "../access/token-cache.js";
import { type ClaimsVerdict, isAccessTokenType } from "../decide.js";
import type { TokenErrorCode } from "../errors.js";
import { decideForeignClaims, type ForeignPolicy, timeVerdict } from "./claims.js";
import { credentialIdOf, identityOf } from "./identity.js";
import { IssuerKeys } from "./issuer-keys.js";
import type { IssuerKey } from "./key-set.js";
import type { MappingFailures } from "./mapping-failures.js";
import type { ResolvedJwtIssuerSettings } from "./settings.js";

type Accepted = Extract<ClaimsVerdict, { ok: true }>;

/** A token of another issuer that was verified. */
export class VerifiedIssuerToken {
  readonly verdict: Accepted;
  readonly #key: IssuerKey;
  readonly #keys: IssuerKeys;
  readonly #leewaySeconds: number;

  /** @param keys those of the issuer, of which `key` has verified the token */
  constructor(verdict: Accepted, key: IssuerKey, keys: IssuerKeys, leewaySeconds: number) {
    this.verdict = verdict;
    this.#key = key;
    this.#keys = keys;
    this.#leewaySeconds = leewaySeconds;
  }

  /** Checks what changes: the time, and whether the issuer still publishes the key. `undefined`: verify it anew. */
  again(now: number): ClaimsVerdict | undefined {
    // Not only tokens that are new end stale keys and start a renewal that is due.
    this.#keys.renew();
    if (this.#key.isGone) return undefined;
    return timeVerdict(this.verdict.claims, this.#leewaySeconds, now / 1000) ?? this.verdict;
  }
}

/** Verifies the access tokens of one other issuer. */
export class IssuerTokens {
  readonly keys: IssuerKeys;
  readonly #settings: ResolvedJwtIssuerSettings;
  readonly #policy: ForeignPolicy;
  readonly #verified: VerifiedTokens | undefined;
  readonly #failures: MappingFailures;

  /**
   * @param verified `undefined`: no token is remembered
   * @param allowHttp whether http: to a loopback host is allowed
   */
  constructor(
    settings: ResolvedJwtIssuerSettings,
    leewaySeconds: number,
    verified: VerifiedTokens | undefined,
    failures: MappingFailures,
    runtime: Runtime,
    allowHttp: boolean,
  ) {
    this.#settings = settings;
    this.#verified = verified;
    this.#failures = failures;
    this.#policy = Object.freeze({
      issuer: settings.issuer,
      audiences: new Set(settings.audience),
      audienceClaim: settings.audienceClaim,
      maxLifeSeconds: settings.maxLifetimeMinutes * 60,
      leewaySeconds,
    });
    this.keys = new IssuerKeys(settings, runtime, allowHttp);
  }

  /** Checks algorithm, type and key, then the signature, then the claims. Never rejects. */
  async verify(token: string, { fields }: UnverifiedToken, now: number): Promise<ClaimsVerdict> {
    const inspection = inspectHeader(fields, this.#settings.algorithms);
    if (!inspection.ok) return inspection;
    const { alg, kid, typ } = inspection.header;
    if (!isForeignAccessTokenType(typ)) return refused("type");
    const key = await this.keys.find(kid, alg);
    if (key === undefined) return refused("unknown-key");
    if (key === "unavailable") return refused("keys-unavailable");
    const signature = await verifyWithJose(token, key.key, alg);
    if (!signature.ok) return signature;
    const verdict = decideForeignClaims(deepFreeze(signature.payload), this.#policy, now / 1000);
    return verdict.ok ? this.#accept(token, verdict, key) : verdict;
  }

  #accept(token: string, { claims }: Accepted, key: IssuerKey): ClaimsVerdict {
    const found = identityOf(claims, this.#settings.issuer, this.#settings, credentialIdOf(token, claims.jti));
    if (!found.ok) {
      this.#failures.announce(found.problem, this.#settings.issuer);
      return refused("identity");
    }
    const verdict: Accepted = Object.freeze({ ok: true, claims, foreign: found.identity });
    this.#verified?.add(token, new VerifiedIssuerToken(verdict, key, this.keys, this.#policy.leewaySeconds));
    return verdict;
  }
}

/** `typ` need not be there; a token that names another type, such as `logout+jwt`, is not an access token. */
function isForeignAccessTokenType(typ: unknown): boolean {
  if (typ === undefined || isAccessTokenType(typ)) return true;
  return typeof typ === "string" && /^(?:application\/)?jwt$/i.test(typ);
}

function refused(code: TokenErrorCode): ClaimsVerdict {
  return { ok: false, code };
}
