import type { Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import {
  at,
  enterCode,
  logIn,
  openAccounts,
  type OpenAccounts,
  PASSWORD,
  press,
  register,
  showKey,
} from "./support/accounts.js";

const CHANGED = "another fine long password";

let example: OpenAccounts;
let page: Page;
beforeAll(async () => {
  example = await openAccounts();
});
afterAll(() => example.close());
beforeEach(async () => {
  example.complaints.length = 0;
  example.clock.advance(60_000);
  page = await example.open();
});
afterEach(async () => {
  await page.context().close();
  expect(example.complaints).toEqual([]);
});

/** What a field says to a screen reader besides its label. */
async function described(name: string): Promise<string> {
  const ids = (await page.getByLabel(name, { exact: true }).getAttribute("aria-describedby"))?.split(" ") ?? [];
  const texts = await Promise.all(ids.map((id) => page.locator(`#${id}`).textContent()));
  return texts.join(" ");
}

test("the whole story without JavaScript", { timeout: 120_000 }, async () => {
  const { clock } = example;
  const login = "ada@example.com";
  await page.goto("/register");
  await page.getByLabel("E-mail address").fill(login);
  await page.getByLabel("Password").fill("short");
  await press(page, "Make an account");
  await page.getByRole("alert").waitFor();
  expect(await page.title()).toBe("Error: Make an account – Accounts example");
  expect(await described("Password")).toContain("fewer than 15 characters");
  expect(await page.getByLabel("Password").getAttribute("aria-invalid")).toBe("true");
  await register(example, page, login);
  await at(page, "Your account");
  expect(await page.getByRole("main").textContent()).toContain(login);

  await page.getByRole("link", { name: "Set up a second step" }).click();
  const app = await showKey(page);
  const picture = page.getByRole("img", { name: /^QR code/ });
  const box = await picture.boundingBox();
  expect([box?.width, box?.height].map((size) => (size ?? 0) > 200)).toEqual([true, true]);
  await enterCode(page, "Turn the second step on", app.wrong(clock.now()));
  await page.getByRole("alert").waitFor();
  expect(await described("Code")).toContain("not right");
  await enterCode(page, "Turn the second step on", app.code(clock.now()));
  await at(page, "Recovery codes");
  const codes = await page.getByRole("listitem").allTextContents();
  expect(codes).toHaveLength(10);
  await page.getByRole("link", { name: "I have kept them" }).click();
  await at(page, "Your account");
  clock.advance(30_000);

  const other = await example.open();
  await logIn(other, login);
  await at(other, "Second step");
  await enterCode(other, "Go on", app.code(clock.now()));
  await at(other, "Your account");
  await page.getByRole("link", { name: "Devices" }).click();
  await at(page, "Devices");
  await page.getByRole("button", { name: /^Log out there: Chrome on Linux/ }).click();
  await page.getByRole("status").waitFor();
  await other.goto("/");
  await at(other, "Log in");

  await logIn(other, login);
  await other.getByLabel("A recovery code").check();
  await enterCode(other, "Go on", codes[0] ?? "");
  await at(other, "Your account");
  expect(await other.getByRole("main").textContent()).toContain("9 recovery codes are left");

  clock.advance(301_000);
  await page.goto("/");
  await press(page, "Make new recovery codes");
  await at(page, "Show that it is you");
  expect(await page.getByRole("alert").count()).toBe(0);
  expect(await page.getByRole("main").textContent()).toContain("You logged in a while ago");
  await enterCode(page, "Confirm", app.code(clock.now()));
  await at(page, "Your account");
  expect(await page.getByRole("status").textContent()).toContain("It is you");
  await press(page, "Make new recovery codes");
  await at(page, "Recovery codes");
  expect(await page.getByText(codes[1] ?? "?").count()).toBe(0);

  await page.goto("/");
  await page.getByLabel("Your password now").fill(PASSWORD);
  await page.getByLabel("New password").fill(CHANGED);
  await press(page, "Change the password");
  await page.getByText("your password is changed").waitFor();
  await other.goto("/");
  await at(other, "Log in");

  await page.goto("/forgot");
  await page.getByLabel("E-mail address").fill(login);
  await press(page, "Send a link");
  await page.getByRole("status").waitFor();
  await page.goto(await example.link("password-reset", login));
  await page.getByLabel("New password").fill(PASSWORD);
  await press(page, "Set the password");
  await at(page, "Second step");
  clock.advance(30_000);
  await enterCode(page, "Go on", app.code(clock.now()));
  await at(page, "Your account");
  await press(page, "Remove the authenticator app");
  await page.getByText("the second step is removed").waitFor();
  await press(page, "Log out");
  await at(page, "Log in");
  await logIn(page, login);
  await at(page, "Your account");
  await other.context().close();
});

test("whoever must have a second step sets it up before they are in", { timeout: 60_000 }, async () => {
  await register(example, page, "eve@staff.example");
  await at(page, "Set up a second step");
  await page.goto("/");
  await at(page, "Log in");
  await page.goto("/second-step");
  const app = await showKey(page);
  await enterCode(page, "Turn the second step on", app.code(example.clock.now()));
  await at(page, "Recovery codes");
  await page.getByRole("link", { name: "I have kept them" }).click();
  await at(page, "Your account");
  await press(page, "Remove the authenticator app");
  expect(await page.getByRole("alert").textContent()).toContain("must have a second step");
});

test(
  "the log-in works by keyboard alone, in the order of the page, and the focus is seen",
  { timeout: 60_000 },
  async () => {
    const login = "bob@example.com";
    await register(example, page, login);
    await press(page, "Log out");
    await at(page, "Log in");
    const focused = async (): Promise<string> =>
      (await page.locator(":focus").getAttribute("id")) ?? (await page.locator(":focus").textContent()) ?? "";
    const order: string[] = [];
    await page.goto("/login");
    for (let count = 0; count < 6; count++) {
      await page.keyboard.press("Tab");
      order.push(await focused());
      if (count === 1) await page.keyboard.type(login);
      if (count === 2) await page.keyboard.type("wrong, and wrong again");
    }
    expect(order).toEqual(["Skip to the content", "login", "password", "remember", "Log in", "Forgot your password?"]);
    await page.keyboard.press("Shift+Tab");
    await page.keyboard.press("Enter");
    await page.getByRole("alert").waitFor();
    // The focus is where the mistake is.
    expect(await focused()).toBe("login");
    await page.keyboard.type(login);
    await page.keyboard.press("Tab");
    await page.keyboard.type(PASSWORD);
    await page.keyboard.press("Enter");
    await at(page, "Your account");
  },
);

test("Back shows nothing private after a log-out", { timeout: 60_000 }, async () => {
  const login = "cyd@example.com";
  await register(example, page, login);
  await page.getByText(login).waitFor();
  await page.getByRole("link", { name: "Devices" }).click();
  await at(page, "Devices");
  await press(page, "Log out");
  await at(page, "Log in");
  for (let count = 0; count < 2; count++) {
    await page.goBack();
    await at(page, "Log in");
    expect(await page.content()).not.toContain(login);
  }
});

test("every field has a name, and says to a password manager what it is", { timeout: 60_000 }, async () => {
  const fields = async (path: string): Promise<unknown[]> => {
    await page.goto(path);
    const inputs = await page.locator("input:not([type=hidden], [type=checkbox])").all();
    return Promise.all(
      inputs.map(async (input) => {
        const id = await input.getAttribute("id");
        const label = id === null ? "none" : await page.locator(`label[for="${id}"]`).textContent();
        return [label, await input.getAttribute("type"), await input.getAttribute("autocomplete")];
      }),
    );
  };
  expect(await fields("/register")).toEqual([
    ["E-mail address", "email", "username"],
    ["Password", "password", "new-password"],
  ]);
  expect(await fields("/login")).toEqual([
    ["E-mail address", "email", "username"],
    ["Password", "password", "current-password"],
  ]);
  expect(await fields("/forgot")).toEqual([["E-mail address", "email", "username"]]);
  expect(await fields("/reset-password?token=x")).toEqual([["New password", "password", "new-password"]]);
  await register(example, page, "dan@example.com");
  await at(page, "Your account");
  expect(await fields("/")).toEqual([
    ["none", "text", "username"],
    ["Your password now", "password", "current-password"],
    ["New password", "password", "new-password"],
  ]);
  expect(await page.locator("input[autocomplete=username]").inputValue()).toBe("dan@example.com");
  expect(await page.locator("input[autocomplete=username]").isVisible()).toBe(false);
  expect(await fields("/confirm")).toEqual([
    ["none", "text", "username"],
    ["Password", "password", "current-password"],
  ]);
  await page.goto("/second-step");
  await press(page, "Show the key");
  expect(await page.getByLabel("Code", { exact: true }).getAttribute("autocomplete")).toBe("one-time-code");
});

test.each(["/login", "/register", "/forgot", "/reset-password"])(
  "%s has its landmarks, one heading and its language",
  async (path) => {
    await page.goto(path);
    expect(await page.locator("html").getAttribute("lang")).toBe("en");
    for (const role of ["banner", "main"] as const) expect(await page.getByRole(role).count()).toBe(1);
    expect(await page.getByRole("heading", { level: 1 }).count()).toBe(1);
    expect(await page.locator("script, style, [style]").count()).toBe(0);
  },
);
