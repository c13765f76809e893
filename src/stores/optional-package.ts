import { SetupError } from "../core/setup-error.js";

/** Whether an import failed because this package is not installed; that of a package it depends on is another error. */
export function isMissingPackage(error: unknown, name: string): boolean {
  if (!(error instanceof Error)) return false;
  const { code } = error as { code?: unknown };
  // MODULE_NOT_FOUND from the CommonJS build. Either message names the package.
  return (code === "ERR_MODULE_NOT_FOUND" || code === "MODULE_NOT_FOUND") && error.message.includes(`'${name}'`);
}

/**
 * Loads what needs an optional package.
 *
 * @param needs the beginning of the sentence: "A database needs"
 * @throws SetupError (rejects) with the line that installs the package when it is missing
 */
export async function loadOptional<T>(needs: string, name: string, load: () => Promise<T>): Promise<T> {
  try {
    return await load();
  } catch (error) {
    if (!isMissingPackage(error, name)) throw error;
    throw new SetupError(`${needs} the package ${name}, which is not installed. Install it with: npm install ${name}`, {
      cause: error,
    });
  }
}
