import { createSecretKey, type KeyObject } from "node:crypto";
import { deepFreeze } from "../../core/deep-freeze.js";
import type { ForeignIds } from "../../core/foreign-ids.js";
import type { Runtime } from "../../core/runtime.js";
import { inspectHeader, type UnverifiedToken } from "../access/inspect-token.js";
import { verifySignature } from "../access/verify-signature.js";
import { type AccessTokenClaims, type ClaimsVerdict, isAccessTokenType } from "../decide.js";
import { AUTHENTICATION_CLAIMS } from "../authentication.js";
import { decideForeignClaims, type ForeignPolicy } from "./claims.js";
import { credentialIdOf, identityOf } from "./identity.js";
import type { MappingFailures } from "./mapping-failures.js";
import type { ResolvedJwtAcceptSettings } from "./accept-settings.js";

const ALGORITHMS = ["HS256"] as const;

/**
 * Verifies tokens of the app before it used this library. Ours have `typ: at+jwt`, and so are never one of them, even if
 * both were signed with the same secret. They are not remembered: an HMAC costs little.
 */
export class FormerTokens {
  readonly #settings: ResolvedJwtAcceptSettings;
  readonly #keys: readonly KeyObject[];
  readonly #policy: ForeignPolicy;
  /** The ids of subjects of listed issuers, of which this app has none. */
  readonly #foreignIds: ForeignIds;
  readonly #failures: MappingFailures;

  constructor(settings: ResolvedJwtAcceptSettings, leewaySeconds: number, failures: MappingFailures, runtime: Runtime) {
    if (runtime.clock.now() >= settings.until)
      process.emitWarning(
        "jwt.accept has no effect: its `until` is in the past, so tokens of the former app are refused. Remove accept, or set a later date.",
        { code: "PORTCULLIS_MIGRATION" },
      );
    this.#settings = settings;
    this.#foreignIds = runtime.foreignIds;
    this.#failures = failures;
    this.#keys = settings.secret.map((secret) => createSecretKey(Buffer.from(secret.reveal())));
    this.#policy = Object.freeze({
      issuer: settings.issuer,
      audiences: settings.audience === undefined ? undefined : new Set(settings.audience),
      audienceClaim: "aud",
      // `until` bounds them.
      maxLifeSeconds: undefined,
      leewaySeconds,
    });
  }

  /** Whether a token can be one of these now: HS256, and not of our own type. */
  takes({ fields }: UnverifiedToken, now: number): boolean {
    return now < this.#settings.until && fields.alg === "HS256" && !isAccessTokenType(fields.typ);
  }

  verify(token: string, { fields }: UnverifiedToken, now: number): ClaimsVerdict {
    const inspection = inspectHeader(fields, ALGORITHMS);
    if (!inspection.ok) return inspection;
    for (const key of this.#keys) {
      const signature = verifySignature(token, key, "HS256");
      if (!signature.ok) continue;
      const verdict = decideForeignClaims(deepFreeze(signature.payload), this.#policy, now / 1000);
      return verdict.ok ? this.#accept(token, verdict) : verdict;
    }
    return { ok: false, code: "signature" };
  }

  #accept(token: string, { claims }: Extract<ClaimsVerdict, { ok: true }>): ClaimsVerdict {
    const found = identityOf(claims, undefined, this.#settings, credentialIdOf(token, claims.jti));
    if (!found.ok) this.#failures.announce(found.problem, undefined);
    else if (!this.#foreignIds.has(found.identity.id))
      return { ok: true, claims: withoutOurs(claims), foreign: found.identity };
    return { ok: false, code: "identity" };
  }
}

/**
 * Claims by which this library names a family, orders tokens, and says how and when a person was authenticated. In a former
 * token they mean something else, or are the word of whoever has guessed its secret: it is never fresh, and proves no factor.
 */
const OURS: ReadonlySet<string> = new Set(["fam", "iat_ms", ...AUTHENTICATION_CLAIMS]);

function withoutOurs(claims: AccessTokenClaims): AccessTokenClaims {
  if (!Object.keys(claims).some((name) => OURS.has(name))) return claims;
  return Object.freeze(
    Object.fromEntries(Object.entries(claims).filter(([name]) => !OURS.has(name))),
  ) as AccessTokenClaims;
}
