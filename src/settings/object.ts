import { IncomingMessage, OutgoingMessage } from "node:http";
import { z } from "zod";
import { SettingsError, type SettingsCode, type SettingsIssue } from "./errors.js";
import { nearest } from "../core/nearest.js";
import { SetupError } from "../core/setup-error.js";
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
        ? issue.keys.map((key) => unknownKeyMessage(key, known, translations)).join("\n")
        : undefined,
  });
}

/**
 * A protection: `false` turns it off, an object configures it.
 *
 * @param makeSchema makes the schema of the object; called at the first object, so that what is off costs nothing
 */
export function toggleable<Settings, Resolved>(
  makeSchema: () => z.ZodType<Resolved, Settings>,
): z.ZodType<false | Resolved, false | Settings> {
  let schema: z.ZodType<Resolved, Settings> | undefined;
  return selectSchema<false | Settings, false | Resolved>((value) =>
    value === false ? z.literal(false) : value === true ? NOT_TRUE : (schema ??= makeSchema()),
  );
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
 * @throws SettingsError listing every issue
 */
export function parse<Schema extends z.ZodType>(schema: Schema, value: unknown): z.output<Schema> {
  const result = checked(schema, () => value, []);
  if ("issues" in result) throw new SettingsError(result.issues, { cause: result.cause });
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
  return parse(schema, settings);
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

/** Converts zod's issues to ours, under the path `at`. */
export function issuesOf(error: z.ZodError, at: readonly PropertyKey[]): SettingsIssue[] {
  return error.issues.flatMap((issue) => settingsIssues(issue, at));
}

function settingsIssues(issue: z.core.$ZodIssue, at: readonly PropertyKey[]): SettingsIssue[] {
  const path = [...at, ...issue.path];
  if (issue.code === "unrecognized_keys") {
    const messages = issue.message.split("\n");
    return issue.keys.map((key, index) => ({
      code: "unknown-setting",
      path: pathText([...path, key]),
      message: messages[index] ?? "There is no such setting.",
      remedy: "Correct the name or remove the setting.",
    }));
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
  return [{ code, path: pathText(path), ...shapeProblem(issue) }];
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

function unknownKeyMessage(
  key: string,
  known: readonly string[],
  translations: Readonly<Record<string, string>>,
): string {
  if (Object.hasOwn(translations, key)) return `There is no setting "${key}". ${translations[key]}`;
  const near = nearest(key, known);
  // Keys are untrusted: a long or unusual one is not repeated.
  const shown = /^[\w.-]{1,64}$/.test(key) ? `"${key}"` : "with this name";
  const hint = near === undefined ? `Known: ${known.join(", ")}.` : `Did you mean "${near}"?`;
  return `There is no setting ${shown}. ${hint}`;
}
