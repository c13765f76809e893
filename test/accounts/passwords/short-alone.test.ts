import { describe, expect, test } from "vitest";
import { accountsApp, PASSWORD, person } from "../support/app.js";
import { enrol } from "../support/authenticator.js";
import { heldStore } from "../support/held-store.js";
import { resetToken } from "../support/links.js";

const SHORT = "kettle-9-ox";

/** Someone with a factor; `during` takes it away, or not, while a short password is set by `set`. */
async function race(
  set: "change" | "reset" | "api",
  isRemoved: boolean,
): Promise<{ readonly status: number; readonly factors: number; logIn(password: string): Promise<string> }> {
  const held = heldStore();
  const app = await accountsApp({ stores: { credentials: held.store }, storeTimeoutMs: 5000 });
  await person(app);
  const browser = app.client();
  await browser.logIn();
  await enrol(app, browser);
  const [factor] = await app.accounts.factors.list("id-ada");
  const token = await resetToken(app);
  held.hold(1);
  const setting =
    set === "change"
      ? browser.post("/account/password", { current: PASSWORD, password: SHORT })
      : set === "reset"
        ? app.client().post("/account/password/reset", { token, password: SHORT })
        : app.accounts.passwords.set("id-ada", SHORT).then(
            () => ({ status: 204 }),
            () => ({ status: 409 }),
          );
  await held.isWaiting;
  held.hold(Infinity);
  if (isRemoved) expect((await browser.delete(`/account/factors/${factor?.id ?? ""}`)).status).toBe(204);
  held.release();
  return {
    status: (await setting).status,
    factors: (await app.accounts.factors.list("id-ada")).length,
    logIn: async (password) => (await app.client().logIn("ada", password)).text,
  };
}

describe("a short password, which the second factor allows", () => {
  test.each(["change", "reset", "api"] as const)(
    "is not left alone by a factor removed meanwhile (%s)",
    async (set) => {
      const { status, factors, logIn } = await race(set, true);
      expect([status, factors]).toEqual([409, 0]);
      expect(await logIn(SHORT)).toContain("invalid-credentials");
      expect(await logIn(PASSWORD)).toBe('{"status":"done"}');
    },
  );

  test.each(["change", "reset", "api"] as const)("is set beside the factor (%s)", async (set) => {
    const { status, factors, logIn } = await race(set, false);
    expect([status < 300, factors]).toEqual([true, 1]);
    expect(await logIn(SHORT)).toContain("factor-required");
  });
});
