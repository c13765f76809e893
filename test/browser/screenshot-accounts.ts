import { mkdirSync } from "node:fs";
import type { Page } from "playwright-core";
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
import { run } from "./support/in-page.js";

/**
 * Pictures of every page of the accounts example, and of its errors, at phone and desktop width, in light and dark:
 * `npx tsx test/browser/screenshot-accounts.ts <folder>`. It names the pages that are wider than the window.
 */
const folder = process.argv[2];
if (folder === undefined) throw new Error("Name the folder to write the pictures to.");
mkdirSync(folder, { recursive: true });

const SIZES = { phone: { width: 390, height: 844 }, desktop: { width: 1280, height: 800 } };
const tooWide: string[] = [];

async function story(example: OpenAccounts, page: Page, look: string): Promise<void> {
  const { clock } = example;
  let count = 0;
  const take = async (name: string): Promise<void> => {
    const file = `${look}-${String(++count).padStart(2, "0")}-${name}`;
    await page.screenshot({ path: `${folder}/${file}.png`, fullPage: true });
    const size = await run<number[]>(page, "() => [document.documentElement.scrollWidth, innerWidth]");
    if ((size[0] ?? 0) > (size[1] ?? 0)) tooWide.push(file);
  };
  const login = `${look}@example.com`;
  await page.goto("/register");
  await take("register");
  await page.getByLabel("E-mail address").fill(login);
  await page.getByLabel("Password").fill("short");
  await press(page, "Make an account");
  await take("register-error");
  await page.getByLabel("E-mail address").fill(login);
  await page.getByLabel("Password").fill(PASSWORD);
  await press(page, "Make an account");
  await take("register-sent");
  await page.goto(await example.link("verify-email", login));
  await take("verify");
  const address = page.url();
  await page.goto(`${address}&error=missing-credentials`);
  await take("verify-error");
  await page.goto(address);
  await press(page, "Confirm");
  await at(page, "Your account");
  await take("account-new");
  await page.getByLabel("Your password now").fill("not mine, not mine");
  await page.getByLabel("New password").fill(PASSWORD);
  await press(page, "Change the password");
  await take("account-wrong-password");
  await page.getByLabel("Your password now").fill(PASSWORD);
  await page.getByLabel("New password").fill("ada");
  await press(page, "Change the password");
  await take("account-refused-password");
  await page.goto("/second-step");
  await take("second-step");
  const app = await showKey(page);
  await take("second-step-key");
  await enterCode(page, "Turn the second step on", app.wrong(clock.now()));
  await take("second-step-error");
  await enterCode(page, "Turn the second step on", app.code(clock.now()));
  await at(page, "Recovery codes");
  await take("recovery-codes");
  await page.goto("/");
  await take("account");
  clock.advance(301_000);
  await page.goto("/");
  await press(page, "Make new recovery codes");
  await take("confirm-due");
  await enterCode(page, "Confirm", app.wrong(clock.now()));
  await take("confirm-error");
  await enterCode(page, "Confirm", app.code(clock.now()));
  await take("account-confirmed");
  await press(page, "Log out");
  await at(page, "Log in");
  await take("login");
  await page.getByLabel("E-mail address").focus();
  await take("login-focus");
  await logIn(page, login, "wrong, and wrong again");
  await take("login-error");
  await logIn(page, login);
  await at(page, "Second step");
  await take("code");
  await enterCode(page, "Go on", app.wrong(clock.now()));
  await take("code-error");
  clock.advance(30_000);
  await enterCode(page, "Go on", app.code(clock.now()));
  await at(page, "Your account");
  const other = await example.open();
  await logIn(other, login);
  clock.advance(30_000);
  await enterCode(other, "Go on", app.code(clock.now()));
  await at(other, "Your account");
  await other.context().close();
  await page.goto("/devices");
  await take("devices");
  await page.getByRole("button", { name: /^Log out there/ }).click();
  await take("devices-ended");
  await page.goto("/forgot");
  await take("forgot");
  await page.getByLabel("E-mail address").fill(login);
  await press(page, "Send a link");
  await take("forgot-sent");
  await page.goto(await example.link("password-reset", login));
  await take("reset");
  await page.getByLabel("New password").fill("short");
  await press(page, "Set the password");
  await take("reset-error");
  await page.goto("/reset-password?token=x&error=invalid-credentials");
  await take("reset-ended");
  await page.context().clearCookies();
  await page.goto("/login/code");
  await take("login-ended");
  await register(example, page, `${look}@staff.example`);
  await take("second-step-owed");
}

const example = await openAccounts();
try {
  for (const [size, viewport] of Object.entries(SIZES))
    for (const colorScheme of ["light", "dark"] as const) {
      const page = await example.open({ viewport, colorScheme });
      await story(example, page, `${size}-${colorScheme}`);
      await page.context().close();
      example.clock.advance(60_000);
    }
  const complaints = example.complaints.length === 0 ? "nothing" : example.complaints.join("; ");
  process.stdout.write(
    `Wider than the window: ${tooWide.join(", ") || "none"}. The browser complained of ${complaints}.\n`,
  );
} finally {
  await example.close();
}
