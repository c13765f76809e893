import { importPackage, loadOptional } from "../optional-package.js";

async function loadPackage(name: string): Promise<Record<string, unknown>> {
  const loaded = await importPackage(name);
  return typeof loaded["default"] === "object" && loaded["default"] !== null
    ? { ...loaded["default"], ...loaded }
    : loaded;
}

/** @throws SetupError (rejects) with the command that installs the package when it is missing */
export function loadDriver(name: "pg" | "mysql2", scheme: string): Promise<Record<string, unknown>> {
  return loadOptional(`A ${scheme}: database needs`, name, () => loadPackage(name));
}
