import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it, vi } from "vitest";
import { LAYERS } from "../../src/layers.js";
import { codeBlocks, ROOT } from "../support/code-blocks.js";
import { picture } from "./layers-picture.js";

describe("the layers in README.md", () => {
  it("are drawn as describe() and the refusals of a running app have them", async () => {
    vi.spyOn(process, "emitWarning").mockImplementation(() => undefined);
    const inReadme = codeBlocks("README.md").find(({ code }) => code.startsWith("request\n"))?.code;
    expect(`${await picture()}\n`, "Run npx tsx test/readme/draw-layers.ts and commit README.md.").toBe(inReadme);
    vi.restoreAllMocks();
  });

  it("have a row each, in their order", () => {
    const section = readFileSync(join(ROOT, "README.md"), "utf8").split("## What runs, in which order\n")[1] ?? "";
    const rows = [...(section.split("\n## ")[0] ?? "").matchAll(/^\| ([a-z][\w-]*) \| .{10,} \|$/gm)];
    const names = rows.map(([, name]) => name).filter((name) => name !== "layer");
    expect(names).toEqual(LAYERS.map(({ id }) => id));
  });
});
