import { expect, test, vi } from "vitest";
import { MemoryCredentialStore } from "../../../src/stores/memory/credential-store.js";
import { passwordCredential } from "../../../src/accounts/passwords/new-password.js";
import { accountsApp } from "../support/app.js";

vi.mock("../../../src/stores/optional-package.js", async (original) => ({
  ...(await original<object>()),
  // What Node.js says of a package that is not installed.
  importPackage: async (name: string) => {
    throw Object.assign(new Error(`Cannot find package '${name}'`), { code: "ERR_MODULE_NOT_FOUND" });
  },
}));

const HASH = `$2b$04$${"a".repeat(53)}`;
const INSTALL = /needs the package bcrypt, which is not installed. Install it with: npm install bcrypt$/;

test("without the package bcrypt an import and a log-in say what to install, and nothing is stored", async () => {
  const credentials = new MemoryCredentialStore();
  const errors: unknown[] = [];
  const app = await accountsApp({ stores: { credentials } });
  app.users.set("1", { id: "1", login: "ada" });
  await expect(app.accounts.passwords.import("1", HASH)).rejects.toThrow(INSTALL);
  expect(await credentials.listOf("1")).toEqual([]);
  const imported = passwordCredential("1", { hash: HASH, isLong: false, isImported: true }, 0);
  await credentials.change("1", { insert: [imported] });
  app.app.use((error: unknown, _req: unknown, res: { sendStatus(status: number): void }, _next: unknown) => {
    errors.push(error);
    res.sendStatus(500);
  });
  expect((await app.client().logIn("ada")).status).toBe(500);
  expect(errors).toMatchObject([{ message: expect.stringMatching(INSTALL) as string }]);
});
