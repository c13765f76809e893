import type { Page } from "playwright-core";
import decodeQr from "qr/decode.js";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Authenticator } from "../accounts/support/authenticator.js";
import { contrastsOf } from "./support/contrast.js";
import { run } from "./support/in-page.js";
import {
  at,
  enterCode,
  logIn,
  openAccounts,
  type OpenAccounts,
  PASSWORD,
  press,
  register,
} from "./support/accounts.js";

let example: OpenAccounts;
beforeAll(async () => {
  example = await openAccounts();
});
afterAll(() => example.close());

const READ_PICTURE = `async (png) => {
  const picture = new Image();
  picture.src = "data:image/png;base64," + png;
  await picture.decode();
  const { width, height } = picture;
  const context = Object.assign(document.createElement("canvas"), { width, height }).getContext("2d");
  context.drawImage(picture, 0, 0);
  return { width, height, data: [...context.getImageData(0, 0, width, height).data] };
}`;

/** The pixels of an element as the browser paints it, without JavaScript; another page reads them from its picture. */
async function pixelsOf(page: Page, selector: string): Promise<{ width: number; height: number; data: Uint8Array }> {
  const png = (await page.locator(selector).screenshot()).toString("base64");
  const reader = await example.open({ javaScriptEnabled: true });
  await reader.goto("/login");
  const read = await run<{ width: number; height: number; data: number[] }>(reader, READ_PICTURE, png);
  await reader.context().close();
  return { ...read, data: Uint8Array.from(read.data) };
}

describe.each(["light", "dark"] as const)("in the %s colours", (colorScheme) => {
  test(
    "the picture of the key can be scanned, and its code logs in by keyboard alone",
    { timeout: 120_000 },
    async () => {
      const page = await example.open({ colorScheme });
      const login = `scan-${colorScheme}@example.com`;
      await register(example, page, login);
      await page.goto("/second-step");
      await press(page, "Show the key");
      const uri = new URL(decodeQr(await pixelsOf(page, ".qr")));
      expect([uri.protocol, uri.host]).toEqual(["otpauth:", "totp"]);
      expect(decodeURIComponent(uri.pathname)).toContain(login);
      const parameters = Object.fromEntries(uri.searchParams);
      expect(parameters).toMatchObject({ algorithm: "SHA1", digits: "6", period: "30" });
      const secret = parameters["secret"] ?? "";
      expect((await page.locator("code.key").textContent())?.replaceAll(" ", "")).toBe(secret);
      const app = new Authenticator(secret);
      await enterCode(page, "Turn the second step on", app.code(example.clock.now()));
      await at(page, "Recovery codes");
      await page.getByRole("link", { name: "I have kept them" }).click();
      await press(page, "Log out");

      example.clock.advance(30_000);
      await page.goto("/login");
      for (const text of ["", login, PASSWORD]) {
        await page.keyboard.press("Tab");
        await page.keyboard.type(text);
      }
      await page.keyboard.press("Enter");
      await page.getByRole("textbox", { name: /^Code/ }).waitFor();
      const reached: string[] = [];
      while (!reached.includes("code") && reached.length < 8) {
        await page.keyboard.press("Tab");
        const focus = page.locator(":focus");
        reached.push((await focus.getAttribute("name")) ?? (await focus.textContent()) ?? "");
        const outline = await run<string>(page, `() => getComputedStyle(document.activeElement).outlineStyle`);
        expect(outline, reached.at(-1)).not.toBe("none");
      }
      expect(reached.at(-1)).toBe("code");
      await page.keyboard.type(app.code(example.clock.now()));
      await page.keyboard.press("Enter");
      await at(page, "Your account");
      await page.context().close();
    },
  );

  test("every text and every edge of a field stands out as WCAG 2.2 AA asks", { timeout: 120_000 }, async () => {
    const page = await example.open({ colorScheme, javaScriptEnabled: true });
    const login = `seen-${colorScheme}@example.com`;
    const seen = new Map<string, number>();
    const look = async (): Promise<void> => {
      for (const { what, ratio, least } of await contrastsOf(page)) {
        expect(ratio, `${new URL(page.url()).pathname}: ${what}`).toBeGreaterThanOrEqual(least);
        seen.set(what, ratio);
      }
    };
    for (const path of ["/login", "/register", "/forgot"]) {
      await page.goto(path);
      await look();
    }
    await logIn(page, login, "wrong, and wrong again");
    await page.getByRole("alert").waitFor();
    await look();
    await register(example, page, login);
    await look();
    for (const path of ["/devices", "/second-step"]) {
      await page.goto(path);
      await look();
    }
    await press(page, "Show the key");
    await look();
    expect(seen.size).toBeGreaterThan(30);
    process.stdout.write(
      `contrast | ${colorScheme} | ${seen.size} seen, least ${Math.min(...seen.values()).toFixed(2)}\n`,
    );
    await page.context().close();
  });
});
