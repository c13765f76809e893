import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { ROOT } from "../support/code-blocks.js";
import { importsBelow, sourceFiles } from "./imports.js";
import { picture } from "./picture.js";
import { folderOf, foldersOf, HOUSE } from "./rooms.js";

const src = join(ROOT, "src");
const files = sourceFiles(src);
const imports = importsBelow(src);
const drawn = picture(files, imports);
/** Red arrows, which point up, and red numbers, where a folder imports its neighbour. */
const wrongIn = (svg: string): string[] =>
  [...svg.matchAll(/marker-end="url\(#(wrong)\)"|fill="#c62828"[^>]*>(\d+) imports between/g)].map(
    ([, arrow, sideways]) => arrow ?? `${sideways} sideways`,
  );

describe("the picture of the architecture", () => {
  it("is up to date with the imports of src", () => {
    const committed = readFileSync(join(ROOT, "test/architecture/architecture.svg"), "utf8");
    expect(
      committed === drawn,
      "Run npx tsx test/architecture/draw.ts and commit test/architecture/architecture.svg.",
    ).toBe(true);
  });

  it("shows every file of src and every import between two of them", () => {
    expect(files.length).toBeGreaterThan(200);
    expect(imports.length).toBeGreaterThan(800);
    expect(imports.filter(({ to }) => !files.includes(to))).toEqual([]);
    expect(drawn).toContain(`${files.length} files, ${imports.length} imports between them`);
  });

  it("has no arrow that points up, and none from one layer to another", () => {
    expect(wrongIn(drawn)).toEqual([]);
  });

  it("shows in red an import that points up, and one from a layer to another", () => {
    expect(wrongIn(picture(files, [...imports, { from: "core/clock.ts", to: "csrf/decide.ts" }]))).toEqual(["wrong"]);
    expect(wrongIn(picture(files, [...imports, { from: "cors/decide.ts", to: "csrf/decide.ts" }]))).toEqual([
      "1 sideways",
    ]);
  });

  it("refuses a folder that has no place in it", () => {
    const folders = foldersOf(HOUSE);
    expect(folderOf("stores/redis/client.ts", folders)).toBe("stores/redis");
    expect(folderOf("index.ts", folders)).toBe("");
    expect(() => folderOf("cellar/wine.ts", folders)).toThrow("src/cellar/wine.ts is in no room");
  });
});
