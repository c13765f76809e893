import type { Frame, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { eventually } from "./support/eventually.js";
import { run } from "./support/in-page.js";
import { APP, bare, EVIL, html, secured } from "./support/site.js";
import { startWorld, type World } from "./support/world.js";

const MAPS = "https://maps.bank.example";
const WIDGET = "https://widget.test";

let world: World;
beforeAll(async () => {
  const frames = (src: string) => html(`<iframe src="${src}" allow="geolocation"></iframe>`);
  const sites = {
    "app.bank.example": secured({}, () => undefined),
    "maps.bank.example": secured(
      {
        headers: {
          permissionsPolicy: { geolocation: ["self", WIDGET] },
          contentSecurityPolicy: { directives: { "frame-src": [WIDGET, EVIL] } },
        },
      },
      (app) => {
        app.get("/widget", (_req, res) => void res.send(frames(WIDGET)));
        app.get("/evil", (_req, res) => void res.send(frames(EVIL)));
      },
    ),
    "widget.test": bare(),
    "evil.test": bare(),
  };
  // On Linux Chromium knows Web Bluetooth, and with it the name of the feature, only when told to.
  world = await startWorld(sites, { flags: ["--enable-blink-features=WebBluetooth"] });
});
afterEach(() => world.reset());
afterAll(() => world.close());

/** A page of a user who has said yes to everybody: what refuses now is the policy. */
async function visit(address: string): Promise<{ page: Page; warnings: string[] }> {
  const page = await world.page({ permissions: ["geolocation"], geolocation: { latitude: 52.5, longitude: 13.4 } });
  const warnings: string[] = [];
  page.on("console", (message) => void warnings.push(message.text()));
  await page.goto(address);
  return { page, warnings };
}

const whereAmI = (page: Page | Frame) =>
  run(
    page,
    "() => new Promise((resolve) => navigator.geolocation.getCurrentPosition(({ coords }) => resolve(coords.latitude), ({ code }) => resolve(code === 1 ? 'denied' : code)))",
  );

test("by default a page does not learn where the user is, though the user allows it", async () => {
  expect(await whereAmI((await visit(APP)).page)).toBe("denied");
});

test("a page whose policy allows it learns where the user is", async () => {
  expect(await whereAmI((await visit(MAPS)).page)).toBe(52.5);
});

test.each([
  ["a frame of a site that the policy names learns it", "/widget", WIDGET, 52.5],
  ["a frame of another site does not, whatever the frame's own attribute allows", "/evil", EVIL, "denied"],
])("%s", async (_what, path, origin, expected) => {
  const frame = (await visit(`${MAPS}${path}`)).page.frames()[1];
  if (frame === undefined) throw new Error("no frame");
  await eventually(() => run(frame, "() => location.origin")).toBe(origin);
  expect(await whereAmI(frame)).toBe(expected);
});

test("a page has none of the features that are denied by default, and the browser understands the whole header", async () => {
  const { page, warnings } = await visit(APP);
  const denied = [
    "camera",
    "microphone",
    "geolocation",
    "payment",
    "usb",
    "serial",
    "hid",
    "midi",
    "display-capture",
    "screen-wake-lock",
  ];
  expect(
    await run(page, "(names) => names.filter((name) => document.featurePolicy.allowsFeature(name))", denied),
  ).toEqual([]);
  expect(await run(page, "() => document.featurePolicy.allowsFeature('fullscreen')")).toBe(true);
  expect(warnings).toEqual([]);
});
