import { loadOptional } from "../optional-package.js";

/**
 * Imports an optional package. The name is a variable so that neither the compiler nor a bundler requires the package.
 */
async function loadPackage(name: string): Promise<Record<string, unknown>> {
  const loaded = (await import(/* @vite-ignore */ name)) as Record<string, unknown>;
  return typeof loaded["default"] === "object" && loaded["default"] !== null
    ? { ...loaded["default"], ...loaded }
    : loaded;
}

/** @throws SetupError (rejects) with the command that installs the package when it is missing */
export function loadDriver(name: "pg" | "mysql2", scheme: string): Promise<Record<string, unknown>> {
  return loadOptional(`A ${scheme}: database needs`, name, () => loadPackage(name));
}
