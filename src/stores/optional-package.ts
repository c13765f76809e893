import { SetupError } from "../core/setup-error.js";

/**
 * Imports an optional package. The name is a variable so that neither the compiler nor a bundler requires the package.
 * The build calls `require`, because Jest cannot run `import()` in CommonJS.
 */
export async function importPackage(name: string): Promise<Record<string, unknown>> {
  return (await import(/* @vite-ignore */ name)) as Record<string, unknown>;
}

/**
 * Whether an import failed because this package is missing. A missing dependency of the package is a different error.
 */
export function isMissingPackage(error: unknown, name: string): boolean {
  if (!(error instanceof Error)) return false;
  const { code } = error as { code?: unknown };
  // The build gives MODULE_NOT_FOUND. Both messages name the package.
  return (code === "ERR_MODULE_NOT_FOUND" || code === "MODULE_NOT_FOUND") && error.message.includes(`'${name}'`);
}

/** The last versions with CommonJS of packages that have become ES modules. */
const COMMONJS: Readonly<Record<string, string>> = { kysely: "kysely@0.28" };

/** Whether the package was found, and is an ES module that an older Node.js cannot load by `require`. */
function isModuleOnly(error: unknown): boolean {
  return (error as { readonly code?: unknown } | null)?.code === "ERR_REQUIRE_ESM";
}

/**
 * Loads a module that needs an optional package.
 *
 * @param needs the beginning of the sentence: "A database needs"
 * @throws SetupError (rejects) with the command that installs the package, when it is missing, or when it is an ES module
 * that this Node.js cannot load by `require`
 */
export async function loadOptional<T>(needs: string, name: string, load: () => Promise<T>): Promise<T> {
  try {
    return await load();
  } catch (error) {
    if (isModuleOnly(error))
      throw new SetupError(
        `${needs} the package ${name} in a version with CommonJS, or Node.js 20.19, 22.12 or later. Install such a version with: npm install ${COMMONJS[name] ?? name}`,
        { cause: error },
      );
    if (!isMissingPackage(error, name)) throw error;
    throw new SetupError(`${needs} the package ${name}, which is not installed. Install it with: npm install ${name}`, {
      cause: error,
    });
  }
}
