import { describe, expect, test } from "vitest";
import { MemoryCredentialStore } from "../../../src/stores/memory/credential-store.js";
import { MemorySingleUseStore } from "../../../src/stores/memory/single-use-store.js";
import { accountsApp, type Client, person } from "../support/app.js";
import { Authenticator, enrol } from "../support/authenticator.js";

/** A person with a second factor, and a browser that has logged in but owes it. */
async function owing() {
  const stores = { credentials: new MemoryCredentialStore(), singleUse: new MemorySingleUseStore() };
  const app = await accountsApp({ storeTimeoutMs: 5000, stores });
  await person(app);
  const first = app.client();
  await first.logIn();
  const { authenticator, recoveryCodes } = await enrol(app, first);
  const browser = app.client();
  await browser.logIn();
  const recover = (code = recoveryCodes[0], by: Client = browser) =>
    by.post("/account/login/factor", { method: "recovery", code });
  const enter = (steps = 0, by: Client = browser) =>
    by.post("/account/login/factor", { method: "totp", code: authenticator.code(app.clock.now(), steps) });
  const left = () => app.accounts.factors.recoveryCodesLeft("id-ada");
  return { app, stores, browser, recoveryCodes, recover, enter, left };
}

/** Lets nobody go on who has read the credentials before so many have read them. */
function meetAt(count: number, store: MemoryCredentialStore): void {
  const listOf = store.listOf.bind(store);
  let read = 0;
  let meet = (): void => undefined;
  const met = new Promise<void>((resolve) => (meet = resolve));
  store.listOf = async (id) => {
    const all = await listOf(id);
    read += 1;
    if (read === count) meet();
    await met;
    return all;
  };
}

describe("one log-in", () => {
  test("spends one of the different recovery codes that are sent for it at once", async () => {
    const { stores, recoveryCodes, recover, left } = await owing();
    meetAt(recoveryCodes.length, stores.credentials);
    const answers = await Promise.all(recoveryCodes.map((code) => recover(code)));
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
    expect(answers.filter(({ status }) => status === 401)).toHaveLength(9);
    expect(await left()).toBe(9);
  });

  test("spends a recovery code or a code of the authenticator app, not both", async () => {
    const { app, stores, recover, enter, left } = await owing();
    meetAt(2, stores.credentials);
    const statuses = (await Promise.all([recover(), enter()])).map(({ status }) => status);
    expect(statuses.sort()).toEqual([200, 401]);
    const isRecovered = (await left()) === 9;
    // The code that was not spent is good for another log-in.
    const other = app.client();
    await other.logIn();
    expect((await (isRecovered ? enter(0, other) : recover(undefined, other))).status).toBe(200);
  });

  test("goes on after wrong codes, and after a code that was used", async () => {
    const { app, browser, recoveryCodes, recover, enter, left } = await owing();
    const other = app.client();
    await other.logIn();
    expect((await enter(0, other)).status).toBe(200);
    await other.logIn();
    expect((await recover(recoveryCodes[1], other)).status).toBe(200);
    expect((await enter()).status).toBe(401);
    expect((await recover(recoveryCodes[1])).status).toBe(401);
    expect((await recover("0".repeat(24))).status).toBe(401);
    expect((await recover()).status).toBe(200);
    expect([(await browser.get("/me")).status, await left()]).toEqual([200, 8]);
  });
});

describe("a store that fails while a code is spent", () => {
  /** Lets a method of a store reject once. */
  function failOnce<Store extends object>(store: Store, method: keyof Store): void {
    const whole = store[method] as (...args: readonly unknown[]) => unknown;
    Object.assign(store, {
      [method]: async () => {
        Object.assign(store, { [method]: whole.bind(store) });
        throw new Error("down");
      },
    });
  }

  test("for log-ins: 503, and the code is left for the same call", async () => {
    const { stores, recover, left } = await owing();
    failOnce(stores.singleUse, "take");
    expect([(await recover()).status, await left()]).toEqual([503, 10]);
    expect([(await recover()).status, await left()]).toEqual([200, 9]);
  });

  test("for credentials: 503, and the log-in is left for the same call", async () => {
    const { stores, recover, left } = await owing();
    failOnce(stores.credentials, "change");
    expect([(await recover()).status, await left()]).toEqual([503, 10]);
    expect([(await recover()).status, await left()]).toEqual([200, 9]);
  });

  test("for credentials, with a code of an authenticator app: 503, and the same call succeeds", async () => {
    const { stores, enter } = await owing();
    failOnce(stores.credentials, "advance");
    expect((await enter()).status).toBe(503);
    expect((await enter()).status).toBe(200);
  });
});

test("a log-in whose code another log-in was faster to spend goes on with another code", async () => {
  const { app, stores, recoveryCodes, recover, left } = await owing();
  const other = app.client();
  await other.logIn();
  const { singleUse } = stores;
  const take = singleUse.take.bind(singleUse);
  // Between the check of the code and its end, the other log-in spends it.
  singleUse.take = async (...args) => {
    singleUse.take = take;
    expect((await recover(recoveryCodes[0], other)).status).toBe(200);
    return take(...args);
  };
  expect((await recover(recoveryCodes[0])).status).toBe(401);
  expect((await recover(recoveryCodes[1])).status).toBe(200);
  expect(await left()).toBe(8);
});

test("a required factor whose confirmation the store refuses is confirmed by the same call", async () => {
  const credentials = new MemoryCredentialStore();
  const app = await accountsApp({ factors: { required: () => true }, stores: { credentials } });
  await person(app);
  const browser = app.client();
  expect((await browser.logIn()).json()).toMatchObject({ status: "enrolment-required" });
  const change = credentials.change.bind(credentials);
  let isDown = false;
  credentials.change = async (...args) => {
    if (isDown) throw new Error("down");
    return change(...args);
  };

  const { secret } = (await browser.post("/account/totp", {})).json() as { secret: string };
  const code = new Authenticator(secret).code(app.clock.now());
  isDown = true;
  expect((await browser.post("/account/totp/confirm", { code })).status).toBe(503);
  isDown = false;
  expect((await browser.post("/account/totp/confirm", { code })).json()).toMatchObject({ status: "done" });
});
