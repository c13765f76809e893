import type { Clock } from "../../core/clock.js";
import { foreignTokenName } from "../../core/foreign-ids.js";
import type { Principal } from "../../core/principal.js";
import type { StoreCaller } from "../../core/store-caller.js";
import { issuedAt } from "./access-tokens.js";
import type { AccessVerdict, TokenSource } from "./token-source.js";
import type { AccessTokenClaims, ClaimsVerdict } from "../decide.js";
import type { AccessTokenFacts } from "../../stores/contracts.js";
import type { GuardedTokenStore } from "../guarded-token-store.js";

const UNAVAILABLE: AccessVerdict = Object.freeze({ ok: false, code: "store-unavailable" });

/** Verifies access tokens on the request path: signature and claims, then whether the token has been revoked. */
export class AccessVerifier {
  readonly #tokens: TokenSource;
  readonly #store: GuardedTokenStore;
  readonly #clock: Clock;
  readonly #onStoreError: "deny" | "allow";

  /** @param onStoreError whether a valid token is accepted when the store cannot report whether it is revoked */
  constructor(tokens: TokenSource, store: GuardedTokenStore, clock: Clock, onStoreError: "deny" | "allow") {
    this.#tokens = tokens;
    this.#store = store;
    this.#clock = clock;
    this.#onStoreError = onStoreError;
  }

  /** Verifies a token. Returns no promise when the store responds synchronously. Never throws, never rejects. */
  check(token: unknown, caller?: StoreCaller): AccessVerdict | Promise<AccessVerdict> {
    const verdict = this.#tokens.verify(token, this.#clock.now());
    return verdict instanceof Promise
      ? verdict.then((verified) => this.#unlessRevoked(verified, caller))
      : this.#unlessRevoked(verdict, caller);
  }

  #unlessRevoked(verdict: ClaimsVerdict, caller?: StoreCaller): AccessVerdict | Promise<AccessVerdict> {
    if (!verdict.ok) return verdict;
    const { claims, foreign } = verdict;
    try {
      // Checked after the signature, so that forged tokens cannot reveal which ids are revoked (auth0/express-jwt#100).
      const revoked = this.#store.isRevoked(
        foreign === undefined
          ? { jti: claims.jti, subject: claims.sub, issuedAt: issuedAt(claims), familyId: claims.fam }
          : {
              jti: foreign.credentialId,
              subject: foreign.id,
              issuedAt: foreign.issuedAt,
              familyId: foreign.tokenName,
            },
        caller,
      );
      if (typeof revoked === "boolean") return revoked ? { ok: false, code: "revoked", claims, foreign } : verdict;
      return revoked.then(
        (answer): AccessVerdict => (answer ? { ok: false, code: "revoked", claims, foreign } : verdict),
        () => this.#withoutStore(verdict),
      );
    } catch {
      return this.#withoutStore(verdict);
    }
  }

  /** Whether a verified token has not been revoked since, as far as that can be read. Never rejects. */
  async isNotRevoked(token: AccessTokenFacts): Promise<boolean> {
    try {
      return !(await this.#store.isRevoked(token));
    } catch {
      return false;
    }
  }

  #withoutStore(verdict: ClaimsVerdict): AccessVerdict {
    return this.#onStoreError === "allow" ? verdict : UNAVAILABLE;
  }
}

/** What revocations are compared with, of the token that proved a principal. */
export function tokenFacts({ id, credentialId, issuer, claims }: Principal): AccessTokenFacts {
  const { iat = 0, iat_ms, fam } = claims as Partial<AccessTokenClaims>;
  const names = { jti: credentialId, subject: id };
  // Another issuer's subject is not the principal, and its `iat_ms` and `fam` are not ours.
  if (issuer !== undefined)
    return { ...names, issuedAt: Math.floor(iat * 1000), familyId: foreignTokenName(issuer, credentialId) };
  return { ...names, issuedAt: iat_ms ?? Math.floor(iat * 1000), familyId: fam };
}
