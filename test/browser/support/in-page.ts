import type { Frame, Page } from "playwright-core";

/**
 * Runs a function in the page. It is given as text: the DOM is not among the types of this project, and what a compiler adds to
 * a function does not exist over there.
 */
export function run<Result>(page: Page | Frame, code: string, argument?: unknown): Promise<Result> {
  return page.evaluate<Result>(`(${code})(${JSON.stringify(argument) ?? ""})`);
}

export type Fetched =
  { readonly status: number; readonly text: string; readonly headers: Readonly<Record<string, string>> } | "refused";

/** What a script of the page gets from `fetch`: the answer as far as it may read it, or `refused` where the browser gave a TypeError. */
export function fetchIn(page: Page | Frame, url: string, init: object = {}): Promise<Fetched> {
  return run(
    page,
    `async ({ url, init }) => {
      try {
        const answer = await fetch(url, init);
        return { status: answer.status, text: await answer.text(), headers: Object.fromEntries(answer.headers) };
      } catch (error) {
        if (error instanceof TypeError) return "refused";
        throw error;
      }
    }`,
    { url, init },
  );
}
