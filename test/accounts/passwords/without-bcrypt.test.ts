import { onTestFinished, expect, test, vi } from "vitest";
import { MemoryCredentialStore } from "../../../src/stores/memory/credential-store.js";
import { passwordCredential } from "../../../src/accounts/passwords/new-password.js";
import type * as loader from "../../../src/accounts/passwords/load-bcrypt.js";
import type * as support from "../support/app.js";

const LOADER = "../../../src/accounts/passwords/load-bcrypt.js";

/** The test support on a copy of the library that cannot load the package bcrypt. */
async function supportWithout(error: Error): Promise<Pick<typeof support, "accountsApp" | "person">> {
  vi.resetModules();
  vi.doMock(LOADER, async (original) => {
    const { loadBcrypt } = await original<typeof loader>();
    return { loadBcrypt: () => loadBcrypt(() => Promise.reject(error)) };
  });
  onTestFinished(() => {
    vi.doUnmock(LOADER);
    vi.resetModules();
  });
  return import("../support/app.js");
}

const HASH = `$2b$04$${"a".repeat(53)}`;

test.each([
  ["is not installed", "npm install bcrypt", { code: "ERR_MODULE_NOT_FOUND", message: "Cannot find package 'bcrypt'" }],
  ["cannot be loaded", "npm rebuild bcrypt", { code: "ERR_DLOPEN_FAILED", message: "invalid ELF header" }],
])(
  "a log-in whose hash needs bcrypt, which %s, is that of an unknown name, and an event",
  async (_what, line, error) => {
    const { accountsApp, person } = await supportWithout(Object.assign(new Error(error.message), { code: error.code }));
    const warned: string[] = [];
    const spy = vi.spyOn(process, "emitWarning").mockImplementation((text) => void warned.push(String(text)));
    onTestFinished(() => spy.mockRestore());
    const store = new MemoryCredentialStore();
    const app = await accountsApp({ stores: { credentials: store } });
    await person(app, "bob");
    app.users.set("id-ada", { id: "id-ada", login: "ada" });
    const data = { hash: HASH, isLong: false, isImported: true };
    await store.change("id-ada", { insert: [passwordCredential("id-ada", data, 1)] });

    const answers = [];
    for (const [index, login] of ["ada", "nobody", "ada"].entries()) {
      const { status, text, rawHeaders } = await app.client(`192.0.2.${index}`).logIn(login);
      answers.push({ status, text, headers: rawHeaders.join("\n").replace(/Date\n.*/, "") });
    }
    expect(answers[0]?.status).toBe(401);
    expect(answers[0]).toEqual(answers[1]);
    const events = app.events.filter(({ event }) => event === "portcullis_misconfigured");
    expect(events).toMatchObject(Array(2).fill({ level: "CRITICAL", reason: "bcrypt-missing", subject: "id-ada" }));
    expect(warned.filter((text) => text.includes("bcrypt"))).toEqual([expect.stringContaining(line)]);

    const refused = { code: "PORTCULLIS_SETUP", message: expect.stringContaining(line) as string };
    await expect(app.accounts.passwords.verify("id-ada", "x")).rejects.toMatchObject(refused);
    await expect(app.accounts.passwords.import("id-eve", HASH)).rejects.toMatchObject(refused);
    expect((await app.client().logIn("bob")).status).toBe(200);
  },
);
