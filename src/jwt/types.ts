import type { PartDependencies, Runtime } from "../core/runtime.js";
import type { Secret } from "../core/secret.js";
import type { TokenStore } from "../stores/contracts.js";

/** The result of a log-in or a refresh (RFC 6749 section 5.1, in camel case). */
export interface IssuedTokens {
  /** The access token, a JWT. */
  readonly accessToken: string;
  /** The refresh token, which `refresh` accepts once. */
  readonly refreshToken: string;
  /** How the access token is presented: `Authorization: Bearer …`. */
  readonly tokenType: "Bearer";
  /** Lifetime of the access token, in seconds. */
  readonly expiresIn: number;
}

/** Objects passed to a `JwtManager`. */
export interface JwtManagerDependencies extends PartDependencies {
  /** @internal Replaces `events`, `clock` and `onRefusal`: the runtime of a whole application. */
  readonly runtime?: Runtime | undefined;
  /**
   * Allows keys of other issuers over http: from this machine (`debug` of `applySecurity`). Default: `false`.
   */
  readonly debug?: boolean | undefined;
  /** A store that its creator closes; `settings.store` takes precedence. */
  readonly store?: TokenStore | undefined;
  /**
   * Root secrets. The HMAC key is derived from them when the settings have none, and so is the key of the refresh
   * tokens' hashes.
   */
  readonly secretKey?: readonly Secret[] | undefined;
}
