import { z } from "zod";
import { csrfSchema } from "../csrf/settings.js";
import { SettingsError, type SettingsIssue } from "../settings/errors.js";
import { checked, refuseRequest, settingsObject } from "../settings/object.js";
import { DEBUG_HOSTS, trustedHostSchema } from "../trusted-host/settings.js";
import { contradictions } from "./contradictions.js";
import { type ParsedSettings, SHAPE } from "./schema.js";

/**
 * Checks settings and fills in the defaults. The given object is neither kept nor changed; parsing the result again
 * changes nothing.
 *
 * @throws SettingsError listing every issue of every protection, and the contradictions between them
 */
export function parseSettings(settings: unknown): ParsedSettings {
  refuseRequest(settings);
  if (typeof settings !== "object" || settings === null || Array.isArray(settings)) {
    throw new SettingsError([
      {
        code: "wrong-type",
        path: "",
        message: "The settings must be an object.",
        remedy: 'Call applySecurity(app, { trustedHosts: ["example.com"] }).',
      },
    ]);
  }
  const issues: SettingsIssue[] = [];
  let cause: unknown;
  const check = (schema: z.ZodType, read: () => unknown, path: readonly string[]): unknown => {
    const result = checked(schema, read, path);
    if (!("issues" in result)) return result.data;
    issues.push(...result.issues);
    cause ??= result.cause;
    return undefined;
  };
  check(NO_STRANGERS, () => strangers(settings), []);
  const given: Record<string, unknown> = {};
  const parsed: Record<string, unknown> = {};
  // Key by key, so that what is wrong in one protection does not hide what is wrong in another. Each is read once.
  for (const [key, schema] of Object.entries(SHAPE)) {
    // Given, though nobody knows what: until it has been read.
    given[key] = null;
    const data = check(schema, () => (given[key] = (settings as Record<string, unknown>)[key]), [key]);
    if (data !== undefined) parsed[key] = data;
  }
  // Two defaults depend on another setting.
  if (parsed.debug === true && parsed.trustedHosts === undefined)
    parsed.trustedHosts = trustedHostSchema.parse(DEBUG_HOSTS);
  if (parsed.csrf === undefined) parsed.csrf = parsed.session === false ? false : csrfSchema.parse({});
  issues.push(...contradictions(parsed, given));
  if (issues.length > 0) throw new SettingsError(issues, { cause });
  return deepFreeze(parsed) as ParsedSettings;
}

const NO_STRANGERS = settingsObject(Object.fromEntries(Object.keys(SHAPE).map((key) => [key, z.unknown().optional()])));

/** The keys that are not settings, without their values. */
function strangers(settings: object): Record<string, undefined> {
  return Object.fromEntries(
    Object.keys(settings)
      .filter((key) => !Object.hasOwn(SHAPE, key))
      .map((key) => [key, undefined]),
  );
}

/** Freezes plain objects and lists; leaves instances (clients, keys) alone, and a `store`, which may be a plain object that keeps its state on itself. */
function deepFreeze<T>(value: T): T {
  if (
    Array.isArray(value) ||
    (typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype)
  ) {
    for (const [key, inner] of Object.entries(value)) if (key !== "store") deepFreeze(inner);
    Object.freeze(value);
  }
  return value;
}
