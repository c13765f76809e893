import { openQuickstart } from "./support/quickstart.js";

/** Pictures of the quickstart's page as it opens and after a log-in: `npx tsx test/browser/screenshot.ts <folder>`. */
const folder = process.argv[2];
if (folder === undefined) throw new Error("Name the folder to write the pictures to.");

const quickstart = await openQuickstart();
const { page, server, complaints } = quickstart;
try {
  await page.goto(`${server.origin}/page`);
  await page.screenshot({ path: `${folder}/quickstart-open.png` });
  for (const button of ["Log in", "Who am I?"]) {
    const answered = page.waitForResponse(/\/(?:login|me)$/);
    await page.getByRole("button", { name: button }).click();
    await (await answered).finished();
  }
  await page.getByText('"scopes"').waitFor();
  await page.screenshot({ path: `${folder}/quickstart-logged-in.png` });
  process.stdout.write(
    `${folder}/quickstart-open.png and quickstart-logged-in.png; the browser complained of ${complaints.length === 0 ? "nothing" : complaints.join("; ")}\n`,
  );
} finally {
  await quickstart.close();
}
