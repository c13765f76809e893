import { Secret } from "../core/secret.js";
import { SettingsError } from "./errors.js";
import { SetupError } from "../core/setup-error.js";

/** Variables that name a server, and what `settingsFromEnv` has read from them last. */
const read = new Map<string, Secret>();

export type ServerVariable = "DATABASE_URL" | "REDIS_URL";

/** Remembers where a URL came from, so that an error found later can name the variable. */
export function rememberVariable(name: ServerVariable, url: string): void {
  read.set(name, new Secret(url));
}

/** The name, when this setting is the URL that `settingsFromEnv` read from that variable. */
export function variableOf(name: ServerVariable, setting: unknown): ServerVariable | undefined {
  return setting instanceof Secret && read.get(name)?.reveal() === setting.reveal() ? name : undefined;
}

/**
 * Opens what a setting names.
 *
 * @param variable where the setting came from, if from the environment
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
 * Waits until what a setting names is open.
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
