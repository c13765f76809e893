import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { eventually } from "./support/eventually.js";
import { run } from "./support/in-page.js";
import { openQuickstart, type OpenQuickstart } from "./support/quickstart.js";

let quickstart: OpenQuickstart;
beforeAll(async () => {
  quickstart = await openQuickstart();
});
afterAll(() => quickstart.close());
beforeEach(async () => {
  quickstart.complaints.length = 0;
  await quickstart.page.goto(`${quickstart.server.origin}/page`);
});

const answer = async (button: string) => {
  const { page } = quickstart;
  await page.locator("#answer").evaluate((element) => (element.textContent = ""));
  await page.getByRole("button", { name: button }).click();
  await eventually(() => page.textContent("#answer")).not.toBe("");
  return page.textContent("#answer");
};

test("the page's own script and style run, and the browser complains of nothing", async () => {
  const { page, complaints } = quickstart;
  expect(await page.textContent("#status")).toBe("The inline script ran: it bears this response's nonce.");
  expect(await run(page, "() => getComputedStyle(document.body).maxWidth")).toBe("640px");
  expect(complaints).toEqual([]);
});

test("a user logs in, is recognised, gets tokens, logs out and is no longer recognised", async () => {
  const { page, complaints } = quickstart;
  expect(await answer("Log in")).toBe('POST /login → 200\n{"message":"Welcome, ada!"}');
  expect(await answer("Who am I?")).toBe('GET /me → 200\n{"id":"ada","scopes":["read","orders:*"]}');
  expect(await answer("Get tokens")).toContain('POST /token → 200\n{"accessToken":"ey');
  expect(complaints).toEqual([]);
  expect(await answer("Log out")).toBe("POST /logout → 204\n");
  expect(await answer("Who am I?")).toContain("GET /me → 401");
  expect((await page.context().cookies()).map(({ name }) => name)).toEqual([]);
});

test("an injected script does not run, and the violation is reported", async () => {
  const { page, complaints } = quickstart;
  await run(
    page,
    "() => { const script = document.createElement('script'); script.textContent = 'window.injected = true'; document.body.append(script); }",
  );
  expect(await run(page, "() => window.injected")).toBeUndefined();
  await eventually(() => complaints).toContain("script-src-elem inline");
});
