import { SetupError } from "../../core/setup-error.js";

/** An optional package. The name is a variable so that neither the compiler nor a bundler wants it to be there. */
export async function loadPackage(name: string): Promise<Record<string, unknown>> {
  const loaded = (await import(/* @vite-ignore */ name)) as Record<string, unknown>;
  return typeof loaded["default"] === "object" && loaded["default"] !== null
    ? { ...loaded["default"], ...loaded }
    : loaded;
}

/** @throws SetupError with the line that installs the package when it is missing */
export async function loadDriver(name: "pg" | "mysql2", scheme: string): Promise<Record<string, unknown>> {
  try {
    return await loadPackage(name);
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    const isMissing =
      (code === "ERR_MODULE_NOT_FOUND" || code === "MODULE_NOT_FOUND") &&
      (error as Error).message.includes(`'${name}'`);
    if (!isMissing) throw error;
    throw new SetupError(
      `A ${scheme}: database needs the package ${name}, which is not installed. Install it with: npm install ${name}`,
      { cause: error },
    );
  }
}
