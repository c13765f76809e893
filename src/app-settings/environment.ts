import { SettingsError, type SettingsIssue } from "../settings/errors.js";
import { rememberSource, rememberVariable, type ServerVariable } from "../settings/variables.js";
import { parseSettings } from "./parse.js";
import type { SecuritySettings } from "./schema.js";

/** Environment variables by name. */
type Environment = Readonly<Record<string, string | undefined>>;

/** Parses one variable; returns a problem and its remedy when the text is malformed. */
type Reader<T> = (text: string) => T | { readonly problem: string; readonly remedy: string };

const boolean: Reader<boolean> = (text) => {
  if (/^(true|1|yes|on)$/i.test(text)) return true;
  if (/^(false|0|no|off)$/i.test(text)) return false;
  return { problem: "This must be true or false.", remedy: "Write true or false." };
};

const integer: Reader<number> = (text) =>
  /^\d{1,15}$/.test(text)
    ? Number(text)
    : { problem: "This must be a whole number.", remedy: "Write digits only, without a unit." };

const word: Reader<string> = (text) => text;

/** The URL of a server that is opened later: an error about it then names the variable. */
const serverUrl =
  (variable: ServerVariable): Reader<string> =>
  (text) => {
    rememberVariable(variable, text);
    return text;
  };

/** A JSON array of strings, or words separated by commas. */
const list: Reader<string[]> = (text) => {
  if (!text.startsWith("["))
    return text
      .split(",")
      .map((entry) => entry.trim())
      .filter((entry) => entry !== "");
  return jsonList(text);
};

/** One secret, or a JSON array of them. Not split at commas: a secret may contain commas. */
const secrets: Reader<string | string[]> = (text) => (text.startsWith("[") ? jsonList(text) : text);

function jsonList(text: string): string[] | { problem: string; remedy: string } {
  try {
    const value: unknown = JSON.parse(text);
    if (Array.isArray(value) && value.every((entry): entry is string => typeof entry === "string")) return value;
  } catch {
    // Falls through to the problem below: a parser's message could repeat the text, which may be a secret.
  }
  return {
    problem: "This begins like a JSON array, but is not a valid array of strings.",
    remedy: 'Write ["one","two"], or one,two without brackets.',
  };
}

const hops: Reader<number | boolean | string[]> = (text) => {
  if (/^\d{1,3}$/.test(text)) return Number(text);
  if (/^false$/i.test(text)) return false;
  if (/^true$/i.test(text)) return true;
  return list(text);
};

const originsOrAll: Reader<"*" | string[]> = (text) => (text === "*" ? "*" : list(text));

/**
 * CORS settings from the environment: every method and every request header, and credentials for listed origins
 * unless they are switched off. Without credentials browsers accept `*`, and require Authorization to be listed
 * beside it (Fetch section 4.8).
 */
function corsOf(origins: "*" | string[] | undefined, allowCredentials: boolean | undefined): object | undefined {
  if (origins === undefined) return undefined;
  const credentials = allowCredentials ?? origins !== "*";
  return { origins, credentials, methods: "*", allowedHeaders: credentials ? "*" : ["*", "Authorization"] };
}

/**
 * Reads settings from environment variables: the names in the table of README.md, `undefined` and empty ones ignored.
 * `BACKEND_CORS_ORIGINS` turns CORS on for the listed origins with credentials, every method and every request
 * header; `CORS_ALLOW_CREDENTIALS=off` turns credentials off. `*` allows no credentials, and asking for them with it
 * is an error. Sessions, API keys and JWT are on when `SECRET_KEY` or one of their own variables is set, unless
 * `SESSIONS`, `API_KEYS` or `JWT` is `off`.
 *
 * Add the settings that the environment cannot express in a list with it: `applySecurity(app, [settingsFromEnv(),
 * mine])` merges the two.
 *
 * @throws SettingsError listing every variable whose text is malformed or whose value is not allowed, under the
 * variable's name
 *
 * @example
 * ```ts
 * import express from "express";
 * import { applySecurity, settingsFromEnv } from "portcullis";
 *
 * const security = applySecurity(express(), [settingsFromEnv(), { session: { sameSite: "strict" } }]);
 * ```
 */
export function settingsFromEnv(env: Environment = process.env): SecuritySettings {
  const issues: SettingsIssue[] = [];
  const variables = new Map<string, string>();
  const read = <T>(name: string, path: string, reader: Reader<T>): T | undefined => {
    const text = env[name]?.trim();
    if (text === undefined || text === "") return undefined;
    const value = reader(text);
    if (typeof value === "object" && value !== null && "problem" in value) {
      issues.push({ code: "wrong-type", path: name, message: value.problem, remedy: value.remedy });
      return undefined;
    }
    variables.set(path, name);
    return value;
  };

  // Other values of DEBUG belong to the package `debug`.
  const debugVariable =
    env.PORTCULLIS_DEBUG?.trim() || !/^(?:true|false)$/.test(env.DEBUG ?? "") ? "PORTCULLIS_DEBUG" : "DEBUG";
  const limit = read("RATE_LIMIT_PER_MINUTE", "rateLimit.limit", integer);
  const origins = read("BACKEND_CORS_ORIGINS", "cors.origins", originsOrAll);
  const allowCredentials = read("CORS_ALLOW_CREDENTIALS", "cors.credentials", boolean);
  const secretKey = read("SECRET_KEY", "secretKey", secrets);
  /** A protection that `SECRET_KEY` or a variable of its own turns on, and its switch off. */
  const protection = (switchName: string, key: string, values: Record<string, unknown>): object | false | undefined => {
    const isOn = read(switchName, key, boolean);
    const set = withoutUndefined(values);
    if (isOn === false) return false;
    return isOn === true || secretKey !== undefined || Object.keys(set).length > 0 ? set : undefined;
  };
  const trustedOrigins = read("CSRF_TRUSTED_ORIGINS", "csrf.trustedOrigins", list);
  const settings = withoutUndefined({
    secretKey,
    debug: read(debugVariable, "debug", boolean),
    trustProxy: read("TRUST_PROXY", "trustProxy", hops),
    redis: read("REDIS_URL", "redis", serverUrl("REDIS_URL")),
    database: read("DATABASE_URL", "database", serverUrl("DATABASE_URL")),
    trustedHosts: read("ALLOWED_HOSTS", "trustedHosts", list),
    rateLimit: limit === undefined ? undefined : { limit, windowSeconds: 60 },
    cors: corsOf(origins, allowCredentials),
    csrf: trustedOrigins === undefined ? undefined : { trustedOrigins },
    session: protection("SESSIONS", "session", {
      secret: read("SESSION_SECRET_KEY", "session.secret", secrets),
      maxAge: read("SESSION_MAX_AGE", "session.maxAge", integer),
      cookieName: read("SESSION_COOKIE", "session.cookieName", word),
    }),
    apiKeys: protection("API_KEYS", "apiKeys", {
      prefix: read("API_KEY_PREFIX", "apiKeys.prefix", word),
      length: read("API_KEY_LENGTH", "apiKeys.length", integer),
    }),
    jwt: protection("JWT", "jwt", {
      algorithm: read("ALGORITHM", "jwt.algorithm", word),
      accessTokenMinutes: read("ACCESS_TOKEN_EXPIRE_MINUTES", "jwt.accessTokenMinutes", integer),
      refreshTokenDays: read("REFRESH_TOKEN_EXPIRE_DAYS", "jwt.refreshTokenDays", integer),
    }),
  });
  rememberSource(settings, variables);
  // The other issues concern settings that are still to be merged.
  const names = new Set(variables.values());
  issues.push(...settingsIssues(settings).filter(({ path }) => names.has(path.replace(/\[\d+\]$/, ""))));
  if (issues.length > 0) throw new SettingsError(issues);
  return settings;
}

function settingsIssues(settings: unknown): readonly SettingsIssue[] {
  try {
    parseSettings(settings);
    return [];
  } catch (error) {
    if (error instanceof SettingsError) return error.issues;
    throw error;
  }
}

function withoutUndefined(values: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined));
}
