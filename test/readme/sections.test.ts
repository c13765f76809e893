import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { codeBlocks, readmes, ROOT } from "../support/code-blocks.js";

/** What every layer's page has, in this order; a page may have more between them. */
const TEMPLATE = ["What it does", "Use", "Options", "Rules", "Refusals", "Deployment", "Incorrect use"];
const LAYERS = ["headers", "trusted-host", "cors", "rate-limit", "csrf", "session", "api-key", "jwt"];
/** Folders without settings of their own have fewer. */
const OTHERS: Readonly<Record<string, readonly string[]>> = {
  accounts: TEMPLATE,
  mcp: TEMPLATE,
  stores: ["What it does", "Use", "Incorrect use"],
  core: ["What it does", "Rules", "Refusals", "Deployment"],
  settings: ["What it does", "Use", "Refusals", "Incorrect use"],
};

const textOf = (folder: string): string => readFileSync(join(ROOT, "src", folder, "README.md"), "utf8");
const sectionsOf = (text: string): string[] => [...text.matchAll(/^## (.+)$/gm)].map(([, title = ""]) => title);

describe("the sections of the README of", () => {
  it.each([...LAYERS.map((folder) => [folder, TEMPLATE] as const), ...Object.entries(OTHERS)])(
    "src/%s are those of the template, in its order",
    (folder, template) => {
      const text = textOf(folder);
      expect(sectionsOf(text).filter((title) => template.includes(title))).toEqual(template);
      expect(text).toMatch(/^# .+\n\n## What it does\n\n[^#|`]/);
    },
  );

  it("a layer has something in each, with code that runs under Use and code that is wrong under Incorrect use", () => {
    for (const folder of LAYERS) {
      const bodies = new Map(
        textOf(folder)
          .split(/^## /m)
          .slice(1)
          .map((section) => [section.slice(0, section.indexOf("\n")), section.slice(section.indexOf("\n"))]),
      );
      for (const title of TEMPLATE) expect(bodies.get(title)?.trim().length, `${folder}: ${title}`).toBeGreaterThan(80);
      expect(bodies.get("Use"), folder).toMatch(/^```ts$/m);
      expect(bodies.get("Incorrect use"), folder).toMatch(/^```ts incorrect$/m);
    }
  });
});

describe("README.md", () => {
  it("begins with what it is, the install line and code that runs, before any table", () => {
    const [install, sample] = codeBlocks("README.md");
    expect(install).toMatchObject({ info: "sh", code: "npm install portcullis express\n" });
    expect(sample?.info).toBe("ts");
    expect(sample?.code.split("\n").length).toBeLessThan(20);
    const text = readFileSync(join(ROOT, "README.md"), "utf8");
    expect(text.indexOf("applySecurity(app")).toBeLessThan(text.indexOf("\n|"));
  });

  it("links the page of every folder that has one", () => {
    const text = readFileSync(join(ROOT, "README.md"), "utf8");
    const pages = readmes().filter((path) => /^src\/[\w-]+\/README\.md$/.test(path));
    expect(pages.length).toBeGreaterThan(10);
    expect(pages.filter((path) => !text.includes(`(${path}`))).toEqual([]);
  });
});
