import { describe, expect, test } from "vitest";
import { MemoryCredentialStore } from "../../../src/stores/memory/credential-store.js";
import { accountsApp, PASSWORD, person } from "../support/app.js";

/** A store whose reading of all of a person's credentials fails, once it was called as often as `failAt` says. */
class FailingStore extends MemoryCredentialStore {
  failAt = Infinity;

  override async listOf(ownerId: string): ReturnType<MemoryCredentialStore["listOf"]> {
    this.failAt -= 1;
    if (this.failAt === 0) throw new Error("The store is down.");
    return super.listOf(ownerId);
  }
}

// The gate reads the credentials when it decides, `logIn` and `issue` ask it once more, and it reads them in the end.
describe.each([1, 2, 3])("a log-in whose reading %i of the credentials fails", (reading) => {
  test.each(["session", "tokens"] as const)("is refused, and leaves no %s", async (deliver) => {
    const credentials = new FailingStore();
    const app = await accountsApp({ stores: { credentials } });
    await person(app);
    const browser = app.client();
    credentials.failAt = reading;
    const refused = await browser.logIn("ada", PASSWORD, { deliver });
    expect([refused.status, (refused.json() as { code: string }).code]).toEqual([503, "store-unavailable"]);
    expect((await browser.get("/me")).status).toBe(401);
    const ada = app.client();
    expect((await ada.logIn()).status).toBe(200);
    expect((await ada.get("/account/sessions")).json()).toMatchObject({ sessions: [{ isCurrent: true }] });
    expect(((await ada.get("/account/sessions")).json() as { sessions: unknown[] }).sessions).toHaveLength(1);
  });
});
