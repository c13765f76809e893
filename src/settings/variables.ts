import { Secret } from "../core/secret.js";
import { SettingsError, type SettingsIssue } from "./errors.js";
import { SetupError } from "../core/setup-error.js";

/** Variables that name a server, with the value that `settingsFromEnv` last read from each. */
const read = new Map<string, Secret>();

export type ServerVariable = "DATABASE_URL" | "REDIS_URL";

/** Remembers where a URL came from, so that an error found later can name the variable. */
export function rememberVariable(name: ServerVariable, url: string): void {
  read.set(name, new Secret(url));
}

/** The name of the variable, when this setting is the URL that `settingsFromEnv` read from it. */
export function variableOf(name: ServerVariable, setting: unknown): ServerVariable | undefined {
  return setting instanceof Secret && read.get(name)?.reveal() === setting.reveal() ? name : undefined;
}

/** The variables of each object that `settingsFromEnv` has returned, by the path of the setting. */
const sources = new WeakMap<object, ReadonlyMap<string, string>>();

/** Remembers which variables these settings came from. */
export function rememberSource(settings: object, variables: ReadonlyMap<string, string>): void {
  sources.set(settings, variables);
}

/**
 * Names the variable in issues about a value that came from one.
 *
 * @param all the settings in the order in which they are merged; the last one that has a value supplies it
 */
export function nameVariables(issues: readonly SettingsIssue[], all: readonly object[]): SettingsIssue[] {
  if (!all.some((settings) => sources.has(settings))) return [...issues];
  return issues.map((issue) => {
    const setting = issue.path.replace(/\[\d+\]$/, "");
    const variable = variableFor(setting, all);
    const remedy = withVariables(issue.remedy, all);
    return {
      ...issue,
      remedy,
      path: variable === undefined ? issue.path : variable + issue.path.slice(setting.length),
    };
  });
}

/** Names the variable in place of a setting (`cors.credentials`) that came from one. */
function withVariables(remedy: string, all: readonly object[]): string {
  return remedy.replace(/\b[a-z]\w*\.[a-zA-Z]\w*\b/g, (setting) => variableFor(setting, all) ?? setting);
}

/** The variable that the value of a setting came from. */
function variableFor(setting: string, all: readonly object[]): string | undefined {
  const supplier = all.findLast((settings) => valueAt(settings, setting) !== undefined);
  return supplier === undefined ? undefined : sources.get(supplier)?.get(setting);
}

function valueAt(settings: object, path: string): unknown {
  try {
    return path
      .split(".")
      .reduce<unknown>((tree, key) => (tree as Record<string, unknown> | undefined)?.[key], settings);
  } catch {
    // A getter that throws has its own issue.
    return undefined;
  }
}

/**
 * Opens the server that a setting names.
 *
 * @param variable the environment variable that the setting came from, if any
 * @throws SettingsError with the variable as its path, when `open` throws one
 */
export function openNamed<T>(variable: ServerVariable | undefined, open: () => T): T {
  try {
    return open();
  } catch (error) {
    if (variable === undefined || !(error instanceof SettingsError)) throw error;
    throw new SettingsError(
      error.issues.map((issue) => ({ ...issue, path: variable })),
      { cause: error.cause },
    );
  }
}

/**
 * Waits until the server that a setting names is open.
 *
 * @throws SetupError (rejects) whose message begins with the variable, when `ready` rejects
 */
export async function readyNamed(variable: ServerVariable | undefined, ready: () => Promise<void>): Promise<void> {
  try {
    await ready();
  } catch (error) {
    if (variable === undefined || !(error instanceof Error)) throw error;
    throw new SetupError(`${variable}: ${error.message}`, { cause: error });
  }
}
