import { IncomingMessage, OutgoingMessage } from "node:http";
import { z } from "zod";
import { SettingsError, type SettingsCode, type SettingsIssue } from "./errors.js";
import { nearest } from "../core/nearest.js";
import { SetupError } from "../core/setup-error.js";
import { translate } from "./peer-names.js";
import { SEE_README, sentence, shapeProblem } from "./shape-problem.js";

/**
 * A strict object: unknown keys are issues, each with the nearest known key. Every settings object at every depth is
 * built with it.
 */
export function settingsObject<const Shape extends z.ZodRawShape>(shape: Shape): z.ZodObject<Shape, z.core.$strict> {
  return settingsObjectLike({}, shape);
}

/**
 * A strict object for which an unknown key may be an option of another package.
 *
 * @param translations what to write instead, by the name in the other package
 */
export function settingsObjectLike<const Shape extends z.ZodRawShape>(
  translations: Readonly<Record<string, string>>,
  shape: Shape,
): z.ZodObject<Shape, z.core.$strict> {
  const known = Object.keys(shape);
  return z.strictObject(shape, {
    error: (issue) =>
      issue.code === "unrecognized_keys"
        ? JSON.stringify(issue.keys.map((key) => unknownKey(key, issue.input, known, translations)))
        : undefined,
  });
}

/**
 * A protection: `false` turns it off, an object configures it.
 *
 * @param makeSchema makes the schema of the object; called at the first object, so that what is off costs nothing
 * @param written what to write instead of a value that is a part of the object, such as the limit alone
 */
export function toggleable<Settings, Resolved>(
  makeSchema: () => z.ZodType<Resolved, Settings>,
  written?: (value: unknown) => string | undefined,
): z.ZodType<false | Resolved, false | Settings> {
  let schema: z.ZodType<Resolved, Settings> | undefined;
  return selectSchema<false | Settings, false | Resolved>((value) => {
    if (value === false) return z.literal(false);
    if (value === true) return NOT_TRUE;
    const instead = written?.(value);
    return instead === undefined ? (schema ??= makeSchema()) : notAnObject(instead);
  });
}

/** Settings are parsed once: code that zod would generate for the schema costs more than it saves. */
const ONCE: z.core.ParseContext<z.core.$ZodIssue> = { jitless: true };

const NOT_TRUE = z.unknown().superRefine((_value, context) =>
  addIssue(context, {
    code: "wrong-type",
    message: "true is not allowed; this must be an object or false.",
    remedy: "Write {} to use the defaults, or false to turn it off.",
  }),
);

function notAnObject(instead: string): z.ZodType {
  return z.unknown().superRefine((_value, context) =>
    addIssue(context, {
      code: "wrong-type",
      message: "This must be an object or false.",
      remedy: `Write ${instead}.`,
    }),
  );
}

/**
 * A union that selects its branch by the value, so that the issues are those of the intended branch (zod's own union
 * reports those of every branch).
 */
export function selectSchema<Input, Output>(choose: (value: unknown) => z.ZodType): z.ZodType<Output, Input> {
  return z.transform((value, context) => {
    const result = choose(value).safeParse(value, ONCE);
    if (result.success) return result.data as Output;
    for (const issue of result.error.issues) context.issues.push({ ...issue, input: undefined });
    return z.NEVER;
  }) as unknown as z.ZodType<Output, Input>;
}

/** Adds one of our issues to a refinement: code, path, message and remedy. */
export function addIssue(
  context: z.core.$RefinementCtx,
  issue: { code: SettingsCode; path?: readonly (string | number)[]; message: string; remedy: string },
): void {
  context.addIssue({
    code: "custom",
    path: [...(issue.path ?? [])],
    message: issue.message,
    params: { code: issue.code, remedy: issue.remedy },
  });
}

/** Whether a value is a request or a response: `app.use(rateLimiter)` calls the factory with each request. */
export function isExchange(value: unknown): boolean {
  return value instanceof IncomingMessage || value instanceof OutgoingMessage;
}

/**
 * Parses settings of one layer or of all.
 *
 * @param call the call that got them, for the message of the error
 * @throws SettingsError listing every issue
 */
export function parse<Schema extends z.ZodType>(schema: Schema, value: unknown, call?: string): z.output<Schema> {
  const result = checked(schema, () => value, []);
  if ("issues" in result)
    throw new SettingsError(result.issues, { cause: result.cause, ...(call === undefined ? {} : { call }) });
  return result.data;
}

/**
 * Parses the settings of a middleware factory.
 *
 * @param factory name of the public function
 * @throws SettingsError listing every issue
 * @throws SetupError when the factory was mounted without being called
 */
export function parseFactory<Schema extends z.ZodType>(
  factory: string,
  schema: Schema,
  settings: unknown,
): z.output<Schema> {
  if (isExchange(settings))
    throw new SetupError(
      `${factory} was mounted without being called. Write app.use(${factory}()) instead of app.use(${factory}).`,
    );
  return parse(schema, settings, `${factory}()`);
}

/**
 * Reads and checks a setting. A getter or a proxy of the app may throw meanwhile: that is an issue too, with its
 * error as the cause.
 */
export function checked<Schema extends z.ZodType>(
  schema: Schema,
  read: () => unknown,
  at: readonly PropertyKey[],
): { readonly data: z.output<Schema> } | { readonly issues: SettingsIssue[]; readonly cause?: unknown } {
  try {
    const result = schema.safeParse(read(), ONCE);
    return result.success ? { data: result.data } : { issues: issuesOf(result.error, at) };
  } catch (cause) {
    return {
      issues: [
        {
          code: "wrong-value",
          path: pathText(at),
          message: "Reading this setting threw an error.",
          remedy: "Use a plain value, or fix the getter. The cause of this error is the error that it threw.",
        },
      ],
      cause,
    };
  }
}

/**
 * Converts zod's issues to ours, under the path `at`. A setting that is missing because its name is wrong is one
 * mistake, and so one issue.
 */
export function issuesOf(error: z.ZodError, at: readonly PropertyKey[]): SettingsIssue[] {
  const meant = new Set<string>();
  const issues = error.issues.flatMap((issue) => settingsIssues(issue, at, meant));
  return issues.filter(({ code, path }) => code !== "missing-setting" || !meant.has(path));
}

/** @param meant gets the paths of the settings whose names are wrong */
function settingsIssues(issue: z.core.$ZodIssue, at: readonly PropertyKey[], meant: Set<string>): SettingsIssue[] {
  const path = [...at, ...issue.path];
  if (issue.code === "unrecognized_keys") {
    return (JSON.parse(issue.message) as UnknownKey[]).map(({ key, message, remedy, meant: name }) => {
      if (name !== undefined) meant.add(pathText([...path, name]));
      return { code: "unknown-setting", path: pathText([...path, key]), message, remedy };
    });
  }
  if (issue.code === "custom") {
    const params = (issue.params ?? {}) as { code?: SettingsCode; remedy?: string };
    return [
      {
        code: params.code ?? "wrong-value",
        path: pathText(path),
        message: sentence(issue.message),
        remedy: params.remedy ?? SEE_README,
      },
    ];
  }
  const missing = issue.code === "invalid_type" && issue.message.endsWith("received undefined");
  const mistyped = issue.code === "invalid_type" || issue.code === "invalid_union";
  const code: SettingsCode = missing ? "missing-setting" : mistyped ? "wrong-type" : "wrong-value";
  const problem = shapeProblem(issue);
  // What contains it is the argument of the call, and cannot be removed.
  const remedy = missing && path.length === 1 ? "Set it: it has no default." : problem.remedy;
  return [{ code, path: pathText(path), message: problem.message, remedy }];
}

/** `["cors", "origins", 0]` → `cors.origins[0]`. */
export function pathText(path: readonly PropertyKey[]): string {
  let text = "";
  for (const part of path) {
    if (typeof part === "number") text += `[${part}]`;
    else text += text === "" ? shownKey(part) : `.${shownKey(part)}`;
  }
  return text;
}

/** Keys are untrusted: non-printable characters are replaced to prevent log injection. */
function shownKey(key: PropertyKey): string {
  return key === ""
    ? '""'
    : String(key)
        .slice(0, 64)
        .replace(/[^\x20-\x7e]/g, "?");
}

/** A key that is no setting. `settingsObjectLike` writes a list of them into zod's message, which must be text. */
interface UnknownKey {
  readonly key: string;
  readonly message: string;
  readonly remedy: string;
  /** The setting that was probably meant. */
  readonly meant?: string | undefined;
}

function unknownKey(
  key: string,
  input: unknown,
  known: readonly string[],
  translations: Readonly<Record<string, string>>,
): UnknownKey {
  if (Object.hasOwn(translations, key)) {
    const { says, ...rest } = translate(translations[key] as string, (input as Record<string, unknown>)[key]);
    return { key, message: `There is no setting "${key}".${says === undefined ? "" : ` ${says}`}`, ...rest };
  }
  const meant = nearest(key, known);
  // Keys are untrusted: a long or unusual one is not repeated.
  const shown = /^[\w.-]{1,64}$/.test(key) ? `"${key}"` : "with this name";
  const hint = meant === undefined ? `Known: ${known.join(", ")}.` : `Did you mean "${meant}"?`;
  const remedy = "Correct the name or remove the setting.";
  return { key, message: `There is no setting ${shown}. ${hint}`, remedy, meant };
}
