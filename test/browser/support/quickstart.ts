import type { Browser, Page } from "playwright-core";
import { createQuickstart } from "../../../examples/quickstart/app.js";
import { serve, type TestServer } from "../../support/serve.js";
import { launchChromium } from "./chromium.js";

/** The quickstart as `npm run demo` serves it, plain http on loopback, open in a browser. */
export interface OpenQuickstart {
  readonly server: TestServer;
  readonly page: Page;
  /** What the browser complained of: the console's errors and warnings, errors nobody caught, violations of the policy. */
  readonly complaints: string[];
  close(): Promise<void>;
}

export async function openQuickstart(): Promise<OpenQuickstart> {
  const { app, security } = createQuickstart("sqlite::memory:", "wJ8s7Yk2pQz4Nf6Vb1Xc3Mh5Lr9Tg0Ud");
  await security.ready();
  const server = await serve(app);
  // On Linux Chromium warns of the name of a feature that it has everywhere else (permissions.test.ts).
  const browser: Browser = await launchChromium(undefined, ["--enable-blink-features=WebBluetooth"]);
  const page = await browser.newPage({ viewport: { width: 900, height: 640 } });
  page.setDefaultTimeout(10_000);
  const complaints: string[] = [];
  page.on("console", (message) => {
    if (["error", "warning", "violation"].includes(message.type())) complaints.push(message.text());
  });
  page.on("pageerror", (error) => void complaints.push(error.message));
  await page.addInitScript(
    'addEventListener("securitypolicyviolation", ({ effectiveDirective, blockedURI }) => console.error(`${effectiveDirective} ${blockedURI}`))',
  );
  return {
    server,
    page,
    complaints,
    async close() {
      await browser.close();
      await server.close();
      await security.close();
    },
  };
}
