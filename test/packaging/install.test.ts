import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ROOT } from "../support/code-blocks.js";
import { Project } from "./support/project.js";

/** Packages in a folder of node_modules, and the bytes of their files. */
function sizeOf(folder: string): { packages: number; bytes: number } {
  const paths = readdirSync(folder, { recursive: true, encoding: "utf8" });
  const packages = paths.filter((path) => /(?:^|node_modules\/)(?:@[^/]+\/)?[^/@.][^/]*\/package\.json$/.test(path));
  const bytes = paths.map((path) => statSync(join(folder, path))).reduce((sum, { size }) => sum + size, 0);
  return { packages: packages.length, bytes };
}

describe("what npm installs beside Express", () => {
  const project = new Project("module");
  const bare = new Project("module");
  let packages = NaN;
  let megabytes = NaN;
  beforeAll(async () => {
    await project.install("express@5");
    await bare.run("npm", ["install", "--no-audit", "--no-fund", "--prefer-offline", "express@5"]);
    const [all, express] = [project, bare].map(({ folder }) => sizeOf(join(folder, "node_modules")));
    if (all === undefined || express === undefined) throw new Error("Nothing was installed.");
    packages = all.packages - express.packages;
    megabytes = (all.bytes - express.bytes) / 1e6;
  }, 300_000);
  afterAll(() => {
    project.remove();
    bare.remove();
  });

  it("is at most 42 packages and 10 MB, without types of others", () => {
    expect(packages).toBeGreaterThan(10);
    expect(packages).toBeLessThanOrEqual(42);
    expect(megabytes).toBeLessThanOrEqual(10);
    expect(readdirSync(join(project.folder, "node_modules"))).not.toContain("@types");
  });

  it("is what README.md says", () => {
    const [, said, size] =
      /adds (\d+) packages and (\d+(?:\.\d)?) MB/.exec(readFileSync(join(ROOT, "README.md"), "utf8")) ?? [];
    // New versions of the dependencies may differ a little.
    expect(Math.abs(Number(said) - packages), `${packages} packages`).toBeLessThanOrEqual(2);
    expect(Math.abs(Number(size) - megabytes), `${megabytes.toFixed(1)} MB`).toBeLessThanOrEqual(0.5);
  });

  it("has the licences of the packages that are bundled", () => {
    const text = readFileSync(join(project.folder, "node_modules/portcullis/dist/THIRD-PARTY-LICENSES.txt"), "utf8");
    for (const name of ["zod", "lru-cache", "ipaddr.js", "tldts"])
      expect(text).toMatch(new RegExp(`^${name.replace(".", "\\.")} \\d+\\.`, "m"));
  });
});
