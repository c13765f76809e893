import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join, posix } from "node:path";
import { describe, expect, it } from "vitest";
import { ROOT } from "../support/code-blocks.js";

/** The files of the packed package, as npm itself lists them. */
const packed = new Set(
  (
    JSON.parse(
      execFileSync("npm", ["pack", "--dry-run", "--json", "--ignore-scripts"], {
        cwd: ROOT,
        encoding: "utf8",
        stdio: ["ignore", "pipe", "pipe"],
      }),
    ) as [{ files: { path: string }[] }]
  )[0].files.map(({ path }) => path),
);

/** The pages of the repository. */
const pages = ["", "src", "test", "examples"]
  .flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: folder !== "", encoding: "utf8" }).map((path) =>
      posix.join(folder, path.replaceAll("\\", "/")),
    ),
  )
  .filter((path) => path.endsWith(".md"))
  .sort();

interface Link {
  readonly page: string;
  readonly target: string;
  /** The path from the root, and the heading below it. */
  readonly path: string;
  readonly heading: string | undefined;
}

/** The links of a page to files of ours, outside its code. */
function linksOf(page: string): Link[] {
  const text = readFileSync(join(ROOT, page), "utf8").replace(/^```[^]*?^```$/gm, "");
  return [...text.matchAll(/\]\(([^)\s]+)\)/g)].flatMap(([, target = ""]) => {
    if (/^[a-z]+:/.test(target)) return [];
    const [path = "", heading] = target.split("#");
    return [{ page, target, path: path === "" ? page : posix.join(posix.dirname(page), path), heading }];
  });
}

/** The names by which GitHub and npm link the headings of a page. */
function anchorsOf(page: string): Set<string> {
  const text = readFileSync(join(ROOT, page), "utf8").replace(/^```[^]*?^```$/gm, "");
  return new Set(
    [...text.matchAll(/^#{1,6} (.+)$/gm)].map(([, title = ""]) =>
      title
        .toLowerCase()
        .replace(/[^\p{L}\p{N}\s_-]/gu, "")
        .replaceAll(" ", "-"),
    ),
  );
}

const broken = ({ path, heading }: Link): boolean =>
  !existsSync(join(ROOT, path)) || (heading !== undefined && !anchorsOf(path).has(heading));
const named = (links: readonly Link[]): string[] => links.map(({ page, target }) => `${page}: ${target}`);

describe("links between the pages", () => {
  const links = pages.flatMap(linksOf);

  it("are found, on every kind of page", () => {
    expect(links.length).toBeGreaterThan(60);
    for (const page of ["README.md", "CONTRIBUTING.md", "src/session/README.md", "test/README.md"])
      expect(linksOf(page).length, page).toBeGreaterThan(0);
  });

  it("lead to a file that is there, and to a heading on it", () => {
    expect(named(links.filter(broken))).toEqual([]);
  });

  it("of the packed package lead to a file in it", () => {
    const inside = links.filter(({ page }) => packed.has(page));
    expect(inside.length).toBeGreaterThan(30);
    expect(named(inside.filter(({ path }) => !packed.has(path)))).toEqual([]);
  });

  it("lead to the files that CONTRIBUTING.md and the layers' pages name by their path", () => {
    const named = ["CONTRIBUTING.md", "SECURITY.md", "src/core/README.md"].flatMap((page) =>
      [...readFileSync(join(ROOT, page), "utf8").matchAll(/(?<![\w./<>*])(?:[\w-]+\/)+[\w.-]+\.(?:ts|json|svg)/g)].map(
        ([path]) => path,
      ),
    );
    expect(named.length).toBeGreaterThan(30);
    expect(named.filter((path) => !existsSync(join(ROOT, path)) && !existsSync(join(ROOT, "src", path)))).toEqual([]);
  });

  it("that are dead fail this test", () => {
    const link = { page: "README.md", target: "", path: "README.md", heading: undefined };
    expect(broken(link)).toBe(false);
    expect(broken({ ...link, heading: "stores" })).toBe(false);
    expect(broken({ ...link, heading: "shops" })).toBe(true);
    expect(broken({ ...link, path: "src/none.md" })).toBe(true);
    expect(packed.has("CONTRIBUTING.md")).toBe(false);
    expect(packed.has("src/stores/FAULTS.md")).toBe(true);
  });
});
