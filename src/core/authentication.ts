/** The ways in which a caller may have proved its identity. */
export const AUTHENTICATION_METHODS = ["pwd", "totp", "webauthn", "recovery", "federated", "key", "token"] as const;

/**
 * How a caller proved its identity: `pwd` (a password), `totp` (a code of an authenticator app), `webauthn` (a passkey or
 * a security key), `recovery` (a recovery code), `federated` (something outside this library), `key` (an API key),
 * `token` (an access token that does not say how its subject was authenticated).
 */
export type AuthenticationMethodName = (typeof AUTHENTICATION_METHODS)[number];

/** One proof of a caller's identity. */
export interface AuthenticationMethod {
  /** What was proved. */
  readonly method: AuthenticationMethodName;
  /** When, in milliseconds since the epoch; 0 when that is not known. */
  readonly at: number;
}

/** What the app says that a user has proved: a method proved just now, or a method with its time in milliseconds. */
export type ProvedMethod =
  AuthenticationMethodName | { readonly method: AuthenticationMethodName; readonly at?: number | undefined };

/** How and when a caller was authenticated. */
export interface Authentication {
  readonly authenticatedAt: number;
  readonly methods: readonly AuthenticationMethod[];
}

export const NO_METHODS: readonly AuthenticationMethod[] = Object.freeze([]);

export const METHODS_FORM =
  'methods must be a list of names, such as ["pwd", "totp"], or of { method, at } with a time in milliseconds. ' +
  `The names are ${AUTHENTICATION_METHODS.join(", ")}`;

/**
 * Reads what the app says that a user has proved. A time after `now` counts as `now`, so that a clock that is ahead
 * makes no proof fresh for longer. Each method is kept once, with its latest time.
 *
 * @returns `undefined` when it has another form than `METHODS_FORM`
 */
export function provedMethods(value: unknown, now: number): readonly AuthenticationMethod[] | undefined {
  if (!Array.isArray(value)) return undefined;
  const latest = new Map<AuthenticationMethodName, number>();
  for (const entry of value as readonly unknown[]) {
    const { method, at = now } =
      typeof entry === "string" ? { method: entry } : ((entry ?? {}) as Record<string, unknown>);
    if (!isMethodName(method) || !isTime(at)) return undefined;
    latest.set(method, Math.max(latest.get(method) ?? 0, Math.min(at, now)));
  }
  return listOf(latest);
}

/**
 * Reads the methods that a record contains. Drops those that this version does not know: fewer proofs open fewer doors.
 *
 * @returns `undefined` when the record is damaged
 */
export function storedMethods(value: unknown): readonly AuthenticationMethod[] | undefined {
  if (!Array.isArray(value)) return undefined;
  const known = new Map<AuthenticationMethodName, number>();
  for (const entry of value as readonly unknown[]) {
    if (typeof entry !== "object" || entry === null) return undefined;
    const { method, at } = entry as Record<string, unknown>;
    if (typeof method !== "string" || !isTime(at)) return undefined;
    if (isMethodName(method)) known.set(method, at);
  }
  return listOf(known);
}

/** The time of the latest proof, or `otherwise` when there is none. */
export function latestOf(methods: readonly AuthenticationMethod[], otherwise: number): number {
  return methods.length === 0 ? otherwise : Math.max(...methods.map(({ at }) => at));
}

/** A single proof, frozen. */
export function only(method: AuthenticationMethodName, at: number): readonly AuthenticationMethod[] {
  return Object.freeze([Object.freeze({ method, at })]);
}

function listOf(times: ReadonlyMap<AuthenticationMethodName, number>): readonly AuthenticationMethod[] {
  return times.size === 0 ? NO_METHODS : Object.freeze([...times].map(([method, at]) => Object.freeze({ method, at })));
}

function isMethodName(name: unknown): name is AuthenticationMethodName {
  return AUTHENTICATION_METHODS.includes(name as AuthenticationMethodName);
}

function isTime(at: unknown): at is number {
  return Number.isSafeInteger(at) && (at as number) >= 0;
}
