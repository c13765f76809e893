import type { Runtime } from "../../core/runtime.js";
import type { AccessTokens } from "../access/access-tokens.js";
import { inspectForm, unverifiedClaim } from "../access/inspect-token.js";
import type { TokenSource } from "../access/token-source.js";
import type { VerifiedTokens } from "../access/token-cache.js";
import type { ClaimsVerdict } from "../decide.js";
import type { ResolvedJwtSettings } from "../settings.js";
import { FormerTokens } from "./former-tokens.js";
import { IssuerTokens, VerifiedIssuerToken } from "./issuer-tokens.js";
import { MappingFailures } from "./mapping-failures.js";

const OTHER_ISSUER: ClaimsVerdict = Object.freeze({ ok: false, code: "issuer" });

/**
 * Verifies our own tokens and those of others. The `iss` that nothing has verified selects who verifies a token, and
 * decides nothing else: each of them checks it again.
 */
export class AllTokens implements TokenSource {
  readonly #own: AccessTokens | undefined;
  readonly #ownIssuer: string;
  readonly #verified: VerifiedTokens | undefined;
  readonly #issuers: ReadonlyMap<string, IssuerTokens>;
  readonly #former: FormerTokens | undefined;

  /**
   * @param own `undefined`: this manager has no key, and issues no tokens
   * @param verified shared with `own`; `undefined`: no token is remembered
   * @param allowHttp whether http: to a loopback host is allowed
   */
  constructor(
    { issuer, issuers = [], accept, leewaySeconds }: ResolvedJwtSettings,
    own: AccessTokens | undefined,
    verified: VerifiedTokens | undefined,
    runtime: Runtime,
    allowHttp: boolean,
  ) {
    const failures = new MappingFailures(runtime);
    this.#own = own;
    this.#ownIssuer = issuer;
    this.#verified = verified;
    this.#issuers = new Map(
      issuers.map((entry) => [
        entry.issuer,
        new IssuerTokens(entry, leewaySeconds, verified, failures, runtime, allowHttp),
      ]),
    );
    this.#former = accept && new FormerTokens(accept, leewaySeconds, failures, runtime);
  }

  /** Fetches the keys of all issuers. Resolves also when that fails. */
  async open(): Promise<void> {
    await Promise.all([...this.#issuers.values()].map(({ keys }) => keys.open()));
  }

  close(): void {
    for (const { keys } of this.#issuers.values()) keys.close();
  }

  verify(token: unknown, now: number): ClaimsVerdict | Promise<ClaimsVerdict> {
    const known = typeof token === "string" ? this.#verified?.get(token) : undefined;
    if (known === undefined) return this.#verifyNew(token, now);
    if (!(known instanceof VerifiedIssuerToken)) return this.#own?.verifyAgain(token, known, now) ?? OTHER_ISSUER;
    const verdict = known.again(now);
    if (verdict?.ok !== true) this.#verified?.delete(token as string);
    return verdict ?? this.#verifyNew(token, now);
  }

  #verifyNew(token: unknown, now: number): ClaimsVerdict | Promise<ClaimsVerdict> {
    const form = inspectForm(token);
    if (!form.ok) return form;
    const iss = unverifiedClaim(form, "iss");
    const issuer = typeof iss === "string" ? this.#issuers.get(iss) : undefined;
    if (issuer !== undefined) return issuer.verify(token as string, form, now);
    if (this.#former?.takes(form, now) === true) return this.#former.verify(token as string, form, now);
    return this.#own !== undefined && iss === this.#ownIssuer ? this.#own.verify(token, now) : OTHER_ISSUER;
  }
}
