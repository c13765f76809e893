import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { Authenticator } from "../accounts/support/authenticator.js";
import { ROOT } from "../support/code-blocks.js";
import { FormBrowser } from "./support/form-browser.js";

const PASSWORD = "correct horse battery staple";
const CHANGED = "another fine long password";
const RESET = "a third password, long enough";

/** The time of the example, which stands still: on a busy machine a code would be too old when it arrives. */
const NOW = Date.now();
const STOPPED_CLOCK = `data:text/javascript,${encodeURIComponent(`Date.now = () => ${NOW};`)}`;

/** The example as `npm run demo:accounts` starts it. */
class Example {
  readonly folder = mkdtempSync(join(tmpdir(), "portcullis-accounts-"));
  output = "";
  origin = "";
  #child: ReturnType<typeof spawn> | undefined;

  async start(): Promise<void> {
    const port = await freePort();
    this.origin = `http://localhost:${port}`;
    const env = { ...process.env, PORT: String(port), ACCOUNTS_FOLDER: this.folder };
    const imports = [STOPPED_CLOCK, import.meta.resolve("tsx")].flatMap((module) => ["--import", module]);
    const child = spawn(process.execPath, [...imports, "examples/accounts/main.ts"], {
      cwd: ROOT,
      env,
      stdio: ["ignore", "pipe", "pipe"],
    });
    for (const stream of [child.stdout, child.stderr])
      stream.on("data", (chunk: Buffer) => (this.output += chunk.toString()));
    this.#child = child;
    await vi.waitFor(() => expect(this.output).toContain(`Open ${this.origin}/register`), 30_000);
  }

  /** @returns the exit code */
  async stop(): Promise<unknown> {
    const child = this.#child;
    if (child === undefined) return undefined;
    this.#child = undefined;
    const ended = once(child, "exit");
    child.kill("SIGTERM");
    return (await ended)[0];
  }

  /** The link of the last mail to someone, once it has been printed. */
  async link(to: string, subject: string): Promise<string> {
    const mail = new RegExp(`Mail to ${to}: ${subject}\n {2}(http\\S+)`, "g");
    return vi.waitFor(() => {
      const link = [...this.output.matchAll(mail)].at(-1)?.[1];
      if (link === undefined) throw new Error(`No mail "${subject}" to ${to}: ${this.output}`);
      return link;
    });
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "localhost");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

const example = new Example();
beforeAll(() => example.start());
afterAll(async () => {
  await example.stop();
  rmSync(example.folder, { recursive: true, force: true });
});

async function register(browser: FormBrowser, login: string): Promise<void> {
  await browser.open("/register");
  const sent = await browser.submit("Make an account", { login, password: PASSWORD });
  expect([sent.path, sent.html]).toEqual(["/register?status=accepted", expect.stringContaining('role="status"')]);
  const opened = await browser.open(await example.link(login, "Confirm your address"));
  expect(opened.title).toBe("Confirm your address");
  await browser.submit("Confirm");
}

/** Sets up a second step on the page that offers it. */
async function setUp(browser: FormBrowser): Promise<{ app: Authenticator; codes: string[] }> {
  await browser.submit("Show the key");
  const key = /<code class="key">([^<]*)<\/code>/.exec(browser.page.html)?.[1]?.replaceAll(" ", "") ?? "";
  expect(key).toMatch(/^[A-Z2-7]{32}$/);
  expect(browser.page.html).toMatch(/<svg [^>]*viewBox/);
  const app = new Authenticator(key);
  const wrong = await browser.submit("Turn the second step on", { code: app.wrong(NOW) });
  expect([wrong.path, wrong.title]).toEqual(["/second-step?error=invalid-credentials", "Error: Set up a second step"]);
  expect(wrong.html).toContain(key.slice(0, 4));
  // The code of the step before is right too, and leaves the next two for what follows.
  const shown = await browser.submit("Turn the second step on", { code: app.code(NOW, -1) });
  expect(shown.title).toBe("Recovery codes");
  return { app, codes: codesOn(browser) };
}

function codesOn({ page }: FormBrowser): string[] {
  const codes = [...page.html.matchAll(/<li><code>([^<]*)<\/code><\/li>/g)].map(([, code = ""]) => code);
  expect(new Set(codes).size).toBe(10);
  return codes;
}

async function logIn(browser: FormBrowser, login: string, password: string): Promise<void> {
  await browser.open("/login");
  await browser.submit("Log in", { login, password });
}

test("a person registers, logs in, uses everything, and leaves", { timeout: 120_000 }, async () => {
  const login = "ada@example.com";
  const browser = new FormBrowser(example.origin);
  await browser.open("/");
  expect(browser.page.path).toBe("/login?returnTo=%2F");

  await browser.open("/register");
  const short = await browser.submit("Make an account", { login, password: "short" });
  expect([short.title, short.html]).toEqual([
    "Error: Make an account",
    expect.stringContaining("It has fewer than 15 characters."),
  ]);
  await register(browser, login);
  expect([browser.page.path, browser.page.html]).toEqual(["/", expect.stringContaining(login)]);

  expect((await browser.submit("Log out")).path).toBe("/login");
  expect((await browser.open("/")).path).toBe("/login?returnTo=%2F");
  await logIn(browser, login, "a wrong password, a long one");
  expect([browser.page.path, browser.page.title]).toEqual(["/login?error=invalid-credentials", "Error: Log in"]);
  await logIn(browser, login, PASSWORD);
  expect(browser.page.path).toBe("/");

  await browser.follow("Set up a second step");
  const { app, codes } = await setUp(browser);
  expect((await browser.follow("I have kept them")).html).toContain("10 recovery codes are left.");

  const phone = new FormBrowser(
    example.origin,
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1",
  );
  await logIn(phone, login, PASSWORD);
  expect(phone.page.path).toBe("/login/code");
  expect((await phone.open("/")).path).toBe("/login?returnTo=%2F");
  await phone.open("/login/code");
  const wrongCode = await phone.submit("Go on", { code: app.wrong(NOW) });
  expect([wrongCode.path, wrongCode.title]).toEqual(["/login/code?error=invalid-credentials", "Error: Second step"]);
  expect((await phone.submit("Go on", { code: app.code(NOW) })).path).toBe("/");

  const listed = await browser.open("/devices");
  expect(listed.html.match(/<li>/g)).toHaveLength(2);
  expect(listed.html).toContain("Safari on iPhone");
  const ended = await browser.submit("Log out there");
  expect([ended.path, ended.html.match(/<li>/g)?.length]).toEqual(["/devices?status=ended", 1]);
  expect((await phone.open("/")).path).toBe("/login?returnTo=%2F");

  await logIn(phone, login, PASSWORD);
  await phone.submit("Go on", { method: "recovery", code: codes[0] ?? "" });
  expect([phone.page.path, phone.page.html]).toEqual(["/", expect.stringContaining("9 recovery codes are left.")]);
  await phone.submit("Log out");
  await logIn(phone, login, PASSWORD);
  await phone.submit("Go on", { method: "recovery", code: codes[0] ?? "" });
  expect(phone.page.path).toBe("/login/code?error=invalid-credentials");
  await phone.submit("Cancel");
  await phone.open("/devices");
  await phone.submit("Log in", { login, password: PASSWORD });
  expect((await phone.submit("Go on", { method: "recovery", code: codes[1] ?? "" })).path).toBe("/devices");

  await browser.open("/confirm");
  expect((await browser.submit("Confirm", { code: app.code(NOW) })).title).toBe("Error: Show that it is you");
  expect((await browser.submit("Confirm", { code: app.code(NOW, 1) })).path).toBe("/?status=confirmed");
  await browser.open("/confirm?returnTo=%2Fdevices");
  const confirmed = await browser.submit("Confirm", { method: "recovery", code: codes[2] ?? "" });
  expect(confirmed.path).toBe("/devices");
  await browser.open("/");
  await browser.submit("Make new recovery codes");
  const newCodes = codesOn(browser);
  expect(newCodes).not.toContain(codes[3]);

  await browser.open("/");
  const wrong = await browser.submit("Change the password", { current: "not mine, not mine", password: CHANGED });
  expect([wrong.title, wrong.html]).toEqual(["Error: Your account", expect.stringContaining('id="current-error"')]);
  const weak = await browser.submit("Change the password", { current: PASSWORD, password: "ada" });
  expect([weak.title, weak.html]).toEqual(["Error: Your account", expect.stringContaining('id="password-error"')]);
  const changed = await browser.submit("Change the password", { current: PASSWORD, password: CHANGED });
  expect(changed.path).toBe("/?status=password-changed");

  await phone.open("/forgot");
  await phone.submit("Send a link", { login });
  const link = await example.link(login, "Choose a new password");
  expect((await phone.open(link)).title).toBe("Choose a new password");
  const refused = await phone.submit("Set the password", { password: "short" });
  expect([refused.title, refused.html]).toEqual([
    "Error: Choose a new password",
    expect.stringContaining('id="password-error"'),
  ]);
  await phone.submit("Set the password", { password: RESET });
  expect(phone.page.path).toBe("/login/code");
  expect((await browser.open("/")).path).toBe("/login?returnTo=%2F");
  await phone.submit("Go on", { method: "recovery", code: newCodes[0] ?? "" });
  expect(phone.page.path).toBe("/");
  await phone.open(link);
  expect((await phone.submit("Set the password", { password: CHANGED })).html).toContain("was used or has ended");

  await phone.open("/");
  expect((await phone.submit("Remove the authenticator app")).path).toBe("/?status=factor-removed");
  expect((await phone.submit("Log out")).path).toBe("/login");
  await logIn(phone, login, RESET);
  expect(phone.page.path).toBe("/");

  for (const secret of [PASSWORD, CHANGED, RESET, ...codes, ...newCodes]) expect(example.output).not.toContain(secret);
  for (const subject of ["A recovery code was used", "Your password was changed", "The second step was removed"])
    expect(example.output).toContain(`Mail to ${login}: ${subject}`);
});

test("an address of staff.example is in with a second step only, and keeps it", { timeout: 60_000 }, async () => {
  const browser = new FormBrowser(example.origin);
  await register(browser, "eve@staff.example");
  expect([browser.page.path, browser.page.html]).toEqual(["/second-step", expect.stringContaining("must have")]);
  expect((await browser.open("/")).path).toBe("/login?returnTo=%2F");
  await browser.open("/second-step");
  await setUp(browser);
  await browser.follow("I have kept them");
  expect(browser.page.title).toBe("Your account");
  const kept = await browser.submit("Remove the authenticator app");
  expect([kept.path, kept.html]).toEqual(["/?error=factor-needed", expect.stringContaining("must have a second step")]);
});

test("in another browser the link asks for the password", { timeout: 60_000 }, async () => {
  const [first, second] = [new FormBrowser(example.origin), new FormBrowser(example.origin)];
  const login = "bob@example.com";
  await first.open("/register");
  await first.submit("Make an account", { login, password: PASSWORD });
  await second.open(await example.link(login, "Confirm your address"));
  expect((await second.submit("Confirm")).html).toContain("another browser");
  await second.submit("Confirm", { password: PASSWORD });
  expect(second.page.path).toBe("/");
});

test("nothing of an address is shown", async () => {
  const browser = new FormBrowser(example.origin);
  const planted = encodeURIComponent('"><script>alert(1)</script>');
  for (const path of ["/login", "/register", "/forgot", "/reset-password", "/verify-email"]) {
    const { status, html } = await browser.open(
      `${path}?error=${planted}&status=${planted}&reason=${planted}&token=${planted}`,
    );
    expect([path, status]).toEqual([path, 200]);
    expect(html).not.toContain("<script");
  }
});

test("people are there after a restart, and it ends at SIGTERM", { timeout: 60_000 }, async () => {
  expect(await example.stop()).toBe(0);
  await example.start();
  const browser = new FormBrowser(example.origin);
  await logIn(browser, "bob@example.com", PASSWORD);
  expect(browser.page.path).toBe("/");
  expect(await example.stop()).toBe(0);
});
