import { importPackage, loadOptional } from "../../stores/optional-package.js";

/** The function of the package bcrypt that is used. */
export interface Bcrypt {
  compare(password: string, hash: string): Promise<boolean>;
}

/**
 * @param load for tests
 * @throws SetupError (rejects) with the command that installs the package when it is missing
 */
export function loadBcrypt(load: typeof importPackage = importPackage): Promise<Bcrypt> {
  return loadOptional("A password that bcrypt has hashed needs", "bcrypt", async () => {
    const loaded = await load("bcrypt");
    return (loaded["default"] ?? loaded) as unknown as Bcrypt;
  });
}
