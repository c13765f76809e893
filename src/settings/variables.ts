import { Secret } from "../core/secret.js";
import { SettingsError } from "./errors.js";
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
