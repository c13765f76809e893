import { describe, expect, test } from "vitest";
import type { CredentialStore } from "portcullis";
import { MemoryCredentialStore } from "../../../src/stores/memory/credential-store.js";
import { accountsApp, PASSWORD, person } from "../support/app.js";

const NEW_PASSWORD = "another battery horse staple";

/** A store whose reading of all of a person's credentials waits, with what it has read, while `isHeld`. */
function heldStore(): {
  readonly store: CredentialStore;
  hold(after: number): void;
  readonly isWaiting: Promise<void>;
  release(): void;
} {
  const inner = new MemoryCredentialStore();
  let left = Infinity;
  let release = (): void => undefined;
  let waiting = (): void => undefined;
  const isWaiting = new Promise<void>((resolve) => (waiting = resolve));
  const released = new Promise<void>((resolve) => (release = resolve));
  const listOf = inner.listOf.bind(inner);
  inner.listOf = async (ownerId) => {
    const found = await listOf(ownerId);
    left -= 1;
    if (left === 0) {
      waiting();
      await released;
    }
    return found;
  };
  return { store: inner, hold: (after) => void (left = after), isWaiting, release: () => release() };
}

describe("a log-in with a password that is changed meanwhile", () => {
  // The gate reads the credentials when it decides, `logIn` asks it once more, and it reads them again in the end.
  test.each([
    [1, "session"],
    [2, "session"],
    [3, "session"],
    [1, "tokens"],
    [2, "tokens"],
  ] as const)("at reading %i makes no %s that works", async (reading, deliver) => {
    const held = heldStore();
    const app = await accountsApp({ stores: { credentials: held.store }, storeTimeoutMs: 5000 });
    await person(app);
    const thief = app.client();
    held.hold(reading);
    const entering = thief.logIn("ada", PASSWORD, { deliver });
    await held.isWaiting;
    held.hold(Infinity);
    await app.accounts.passwords.set("id-ada", NEW_PASSWORD);
    await app.security.revokeAll("id-ada", { reason: "password-changed" });
    held.release();
    const { status, json } = await entering;
    const { accessToken } = json() as { accessToken?: string };
    const headers: Record<string, string> = accessToken === undefined ? {} : { authorization: `Bearer ${accessToken}` };
    expect((await thief.get("/me", headers)).status, `the log-in was answered ${status}`).toBe(401);
    expect((await app.client().logIn("ada", NEW_PASSWORD)).status).toBe(200);
  });

  test("and a log-in during which nothing changes works", async () => {
    const held = heldStore();
    const app = await accountsApp({ stores: { credentials: held.store }, storeTimeoutMs: 5000 });
    await person(app);
    const ada = app.client();
    held.hold(2);
    const entering = ada.logIn();
    await held.isWaiting;
    held.release();
    expect((await entering).status).toBe(200);
    expect((await ada.get("/me")).status).toBe(200);
  });
});
