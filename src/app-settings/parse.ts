import { deepFreeze } from "../core/deep-freeze.js";
import { z } from "zod";
import { csrfSchema } from "../csrf/settings.js";
import { SettingsError, type SettingsIssue } from "../settings/errors.js";
import { checked, settingsObjectLike } from "../settings/object.js";
import { TOP_LEVEL_NAMES } from "../settings/peer-names.js";
import { nameVariables } from "../settings/variables.js";
import { DEBUG_HOSTS, trustedHostSchema } from "../trusted-host/settings.js";
import { contradictions } from "./contradictions.js";
import { mergeSettings } from "./merge.js";
import { type ResolvedSecuritySettings, type SecuritySettings, SHAPE } from "./schema.js";

/**
 * Checks settings and fills in the defaults. It neither stores nor changes the given object; parsing the result again
 * changes nothing.
 *
 * @param settings one object, or a list of objects to merge: later values win, but `false` (off) beside an object
 * stays; lists are replaced and `undefined` is ignored
 * @throws SettingsError listing every issue of every protection, and the contradictions between them, those about a
 * value that `settingsFromEnv` read under the name of the variable
 *
 * @example
 * ```ts
 * import { parseSettings, SettingsError } from "portcullis";
 *
 * try {
 *   parseSettings({ trustedHosts: ["api.example.com"], rateLimit: { limit: 0 } });
 * } catch (error) {
 *   if (error instanceof SettingsError) for (const { path, remedy } of error.issues) console.error(path, remedy);
 * }
 * ```
 */
export function parseSettings(settings: unknown): ResolvedSecuritySettings {
  return parseMerged(givenSettings(settings), Array.isArray(settings) ? (settings as object[]) : [settings as object]);
}

/**
 * The settings as one object.
 *
 * @throws SettingsError when they are neither an object nor a list of objects
 */
export function givenSettings(settings: unknown): SecuritySettings {
  const isList = Array.isArray(settings) && settings.length > 0;
  const wrong = isList ? settings.findIndex((one) => !isObject(one)) : isObject(settings) ? -1 : 0;
  if (wrong !== -1) {
    throw new SettingsError([
      {
        code: "wrong-type",
        path: isList ? `[${wrong}]` : "",
        message: "The settings must be an object.",
        remedy: 'Call applySecurity(app, { trustedHosts: ["example.com"] }).',
      },
    ]);
  }
  return isList ? mergeSettings(settings as object[]) : (settings as SecuritySettings);
}

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** @param sources the settings before they were merged */
function parseMerged(settings: object, sources: readonly object[]): ResolvedSecuritySettings {
  const issues: SettingsIssue[] = [];
  let cause: unknown;
  const check = (schema: z.ZodType, read: () => unknown, path: readonly string[]): unknown => {
    const result = checked(schema, read, path);
    if (!("issues" in result)) return result.data;
    issues.push(...result.issues);
    cause ??= result.cause;
    return undefined;
  };
  check(KNOWN_KEYS, () => unknownKeys(settings), []);
  const given: Record<string, unknown> = {};
  const parsed: Record<string, unknown> = {};
  // Checks key by key, so that an issue in one protection does not hide issues in another. Each key is read once.
  for (const [key, schema] of Object.entries(SHAPE)) {
    // Present, value not read yet.
    given[key] = null;
    const data = check(schema, () => (given[key] = (settings as Record<string, unknown>)[key]), [key]);
    if (data !== undefined) parsed[key] = data;
  }
  // Two defaults depend on another setting.
  if (parsed.debug === true && parsed.trustedHosts === undefined)
    parsed.trustedHosts = trustedHostSchema.parse(DEBUG_HOSTS);
  if (parsed.csrf === undefined) parsed.csrf = parsed.session === false ? false : csrfSchema.parse({});
  issues.push(...contradictions(parsed, given));
  if (issues.length > 0) throw new SettingsError(nameVariables(issues, sources), { cause });
  // A `store` may be a plain object with state of its own.
  return deepFreeze(parsed, "store") as ResolvedSecuritySettings;
}

const ANYTHING = z.unknown().optional();
const KNOWN_KEYS = settingsObjectLike(
  TOP_LEVEL_NAMES,
  Object.fromEntries(Object.keys(SHAPE).map((key) => [key, ANYTHING])),
);

/** The keys that are not settings, without their values. */
function unknownKeys(settings: object): Record<string, undefined> {
  return Object.fromEntries(
    Object.keys(settings)
      .filter((key) => !Object.hasOwn(SHAPE, key))
      .map((key) => [key, undefined]),
  );
}
