import { SetupError } from "../../core/setup-error.js";
import { importPackage, loadOptional } from "../../stores/optional-package.js";

/** The function of the package bcrypt that is used. */
export interface Bcrypt {
  compare(password: string, hash: string): Promise<boolean>;
}

const NEEDS = "A password that bcrypt has hashed needs";

/**
 * @param load for tests
 * @throws SetupError (rejects) with the command that installs the package when it is missing or cannot be loaded
 */
export async function loadBcrypt(load: typeof importPackage = importPackage): Promise<Bcrypt> {
  try {
    return await loadOptional(NEEDS, "bcrypt", async () => {
      const loaded = await load("bcrypt");
      return (loaded["default"] ?? loaded) as unknown as Bcrypt;
    });
  } catch (cause) {
    if (cause instanceof SetupError) throw cause;
    // Its native part was built for another machine, say.
    throw new SetupError(`${NEEDS} the package bcrypt, which cannot be loaded. Build it with: npm rebuild bcrypt`, {
      cause,
    });
  }
}
