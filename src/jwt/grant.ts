import {
  type Authentication,
  latestOf,
  METHODS_FORM,
  NO_METHODS,
  type ProvedMethod,
  provedMethods,
} from "../core/authentication.js";
import {
  ID_FORM,
  idText,
  isPrincipalId,
  isRole,
  isScope,
  MAX_ID_LENGTH,
  ROLE_FORM,
  SCOPE_FORM,
} from "../core/identity.js";
import type { JsonValue } from "../stores/contracts.js";
import { copyJson, isPlainObject, MAX_JSON_DEPTH } from "../stores/json.js";
import { isStorable } from "../stores/records.js";
import { AUTHENTICATION_CLAIMS, authenticationClaims } from "./authentication.js";
import { TokenError } from "./errors.js";

/** The contents of a token beyond the standard claims. `claims` also says how its subject was authenticated. */
export interface Grant {
  readonly subject: string;
  readonly scopes: readonly string[];
  readonly roles: readonly string[];
  readonly claims: Readonly<Record<string, JsonValue>>;
}

/** The contents of a token: scopes, roles and further claims. */
export interface IssueInput {
  /** Scopes of the token. Default: none. */
  readonly scopes?: readonly string[] | undefined;
  /** Roles of the subject. Default: none. */
  readonly roles?: readonly string[] | undefined;
  /** Further claims: JSON values under names of your own. */
  readonly claims?: Readonly<Record<string, unknown>> | undefined;
  /**
   * What the subject has proved: `["pwd", "totp"]` for just now, `{ method, at }` with a time in milliseconds for
   * earlier; `req.principal.methods` of a session, for example. Becomes `amr`, and `auth_time` is the latest of their
   * times; a refresh keeps both. Default: none, and `auth_time` is now.
   */
  readonly methods?: readonly ProvedMethod[] | undefined;
  /**
   * What to call the family of refresh tokens in `families`, such as a device's name: 1 to 255 characters without
   * control characters. `signAccessToken` begins no family and ignores it. Default: none.
   */
  readonly label?: string | undefined;
}

const MAX_ENTRIES = 128;

/**
 * Claims that this library defines; claims whose meaning (proof of possession, delegation) it would not enforce; and
 * names that are dangerous to a program that merges objects.
 */
const RESERVED_CLAIMS: ReadonlySet<string> = new Set([
  ..."iss sub aud exp nbf iat iat_ms jti scope scopes roles fam cnf act may_act crit".split(" "),
  ...AUTHENTICATION_CLAIMS,
  ..."__proto__ constructor prototype".split(" "),
]);

/**
 * Checks and copies the input for a token.
 *
 * @param now milliseconds since the epoch
 * @throws TokenError `invalid-input`, naming the argument, never its value
 */
export function grantOf(id: unknown, options: unknown = {}, now: number): Grant {
  const subject = subjectOf(id);
  if (!isPlainObject(options)) throw invalid("The options must be an object.");
  for (const name of Object.keys(options)) {
    if (!OPTIONS.has(name))
      throw invalid(
        "The options contain an unknown name. The known options are scopes, roles, claims, methods and label.",
      );
  }
  return Object.freeze({
    subject,
    scopes: words("scopes", options.scopes, isScope, SCOPE_FORM),
    roles: words("roles", options.roles, isRole, ROLE_FORM),
    claims: Object.freeze({
      ...claimsOf(options.claims),
      ...authenticationClaims(authentication(options.methods, now)),
    }),
  });
}

const OPTIONS: ReadonlySet<string> = new Set(["scopes", "roles", "claims", "methods", "label"]);

/** What `issue` is told to call a family. @throws TokenError `invalid-input` */
export function labelOf({ label }: IssueInput = {}): string | undefined {
  // The form of an id: it stands in one line of a list.
  if (label === undefined || isPrincipalId(label)) return label;
  throw invalid("label must be a string of 1 to 255 characters without control characters or lone surrogates.");
}

function authentication(value: unknown, now: number): Authentication {
  if (value === undefined) return { authenticatedAt: now, methods: NO_METHODS };
  const methods = provedMethods(value, now);
  if (methods === undefined) throw invalid(`${METHODS_FORM}.`);
  return { authenticatedAt: latestOf(methods, now), methods };
}

/** The subject of a token as text. @throws TokenError `invalid-input` */
export function subjectOf(id: unknown): string {
  const subject = idText(id);
  if (!isPrincipalId(subject)) throw invalid(`The subject must be ${ID_FORM}.`);
  return subject;
}

/** Whether a value can be the `jti` of a token: not a whole token, and no value that makes a store fail. */
export function isTokenId(jti: unknown): jti is string {
  return typeof jti === "string" && jti !== "" && jti.length <= MAX_ID_LENGTH && isStorable(jti);
}

function words(
  name: string,
  value: unknown,
  isValid: (entry: unknown) => entry is string,
  form: string,
): readonly string[] {
  if (value === undefined) return [];
  if (!Array.isArray(value) || value.length > MAX_ENTRIES)
    throw invalid(`${name} must be a list of at most ${MAX_ENTRIES} strings.`);
  const list = value.map((entry: unknown) => {
    if (!isValid(entry)) throw invalid(`Each entry of ${name} must be ${form}.`);
    return entry;
  });
  return Object.freeze([...new Set(list)]);
}

function claimsOf(value: unknown): Readonly<Record<string, JsonValue>> {
  if (value === undefined) return {};
  if (!isPlainObject(value)) throw invalid("claims must be a plain object.");
  for (const name of Object.keys(value)) {
    if (RESERVED_CLAIMS.has(name)) throw invalid(`The claim "${name}" is reserved.`);
  }
  const copy = copyJson(value);
  if (copy === undefined)
    throw invalid(
      `claims must contain only JSON values, nested at most ${MAX_JSON_DEPTH} levels deep, and no property named __proto__.`,
    );
  return copy as Readonly<Record<string, JsonValue>>;
}

function invalid(message: string): TokenError {
  return new TokenError("invalid-input", { message });
}
