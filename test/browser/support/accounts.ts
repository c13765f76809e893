import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser, BrowserContextOptions, Page } from "playwright-core";
import type { AccountNotice } from "portcullis/accounts";
import { ManualClock } from "portcullis/testing";

import { createExample } from "../../../examples/accounts/app.js";
import { Authenticator } from "../../accounts/support/authenticator.js";
import { launchChromium } from "./chromium.js";

export const PASSWORD = "correct horse battery staple";

/** What Chromium sends when it is not headless. */
const USER_AGENT =
  "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/150.0.0.0 Safari/537.36";

/** The accounts example as `npm run demo:accounts` serves it, with a clock of ours, and a browser for it. */
export interface OpenAccounts {
  readonly origin: string;
  readonly clock: ManualClock;
  /** What the browser complained of: the console's errors and warnings, and what the policy kept from the page. */
  readonly complaints: string[];
  /** A browser of its own, without JavaScript. */
  open(options?: BrowserContextOptions): Promise<Page>;
  /** The link of the last mail of a kind to someone. */
  link(kind: AccountNotice["kind"], to: string): Promise<string>;
  close(): Promise<void>;
}

export async function openAccounts(): Promise<OpenAccounts> {
  const folder = mkdtempSync(join(tmpdir(), "portcullis-accounts-"));
  const mails: AccountNotice[] = [];
  const clock = new ManualClock(Date.now());
  const port = await freePort();
  const origin = `http://localhost:${port}`;
  const example = createExample(
    {
      file: join(folder, "example.db"),
      secretKey: "wJ8s7Yk2pQz4Nf6Vb1Xc3Mh5Lr9Tg0Ud",
      origin,
      sendMail: (mail) => void mails.push(mail),
      // Chromium and other tests keep the processors busy.
      storeTimeoutMs: 5000,
    },
    { clock },
  );
  await example.security.ready();
  const server = example.app.listen(port, "127.0.0.1");
  await once(server, "listening");
  const browser: Browser = await launchChromium(undefined, [
    // On Linux Chromium warns of the name of a feature that it has everywhere else (permissions.test.ts).
    "--enable-blink-features=WebBluetooth",
    "--host-resolver-rules=MAP localhost 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
  ]);
  const complaints: string[] = [];
  return {
    origin,
    clock,
    complaints,
    async open(options) {
      const context = await browser.newContext({
        baseURL: origin,
        userAgent: USER_AGENT,
        javaScriptEnabled: false,
        ...options,
      });
      const page = await context.newPage();
      page.setDefaultTimeout(10_000);
      page.on("console", (message) => {
        if (["error", "warning", "violation"].includes(message.type())) complaints.push(message.text());
      });
      page.on("pageerror", (error) => void complaints.push(error.message));
      page.on(
        "requestfailed",
        (request) => void complaints.push(`${request.url()} ${request.failure()?.errorText ?? ""}`),
      );
      return page;
    },
    async link(kind, to) {
      const deadline = Date.now() + 5000;
      for (;;) {
        const link = mails.findLast((mail) => mail.kind === kind && mail.user.login === to)?.link;
        if (link !== undefined) return link;
        if (Date.now() > deadline) throw new Error(`No mail ${kind} to ${to}`);
        // A mail is sent after the answer.
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    },
    async close() {
      await browser.close();
      server.closeAllConnections();
      server.close();
      await example.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Waits for the page with this heading. When another one stays, the error shows it. */
export async function at(page: Page, heading: string): Promise<void> {
  const expected = page.getByRole("heading", { level: 1, name: heading, exact: true });
  await expected.waitFor().catch(async (cause: unknown) => {
    throw new Error(`Not at "${heading}" but at ${page.url()}: ${await page.innerText("body")}`, { cause });
  });
}

export async function press(page: Page, button: string): Promise<void> {
  await page.getByRole("button", { name: button, exact: true }).click();
}

/** Makes an account, up to the page that follows. */
export async function register({ link }: OpenAccounts, page: Page, login: string): Promise<void> {
  await page.goto("/register");
  await page.getByLabel("E-mail address").fill(login);
  await page.getByLabel("Password").fill(PASSWORD);
  await press(page, "Make an account");
  await page.getByRole("status").waitFor();
  await page.goto(await link("verify-email", login));
  await press(page, "Confirm");
}

export async function logIn(page: Page, login: string, password = PASSWORD): Promise<void> {
  await page.goto("/login");
  await page.getByLabel("E-mail address").fill(login);
  await page.getByLabel("Password").fill(password);
  await press(page, "Log in");
}

/** Begins to set up a second step, on its page. */
export async function showKey(page: Page): Promise<Authenticator> {
  await press(page, "Show the key");
  const key = (await page.locator("code.key").textContent()) ?? "";
  return new Authenticator(key.replaceAll(" ", ""));
}

export async function enterCode(page: Page, button: string, code: string): Promise<void> {
  await page.getByRole("textbox", { name: /^Code/ }).fill(code);
  await press(page, button);
}
