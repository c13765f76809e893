import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const ROOT = fileURLToPath(new URL("../../", import.meta.url));

export interface CodeBlock {
  /** `README.md:31` */
  where: string;
  /** What stands after the fence: `ts`, `ts incorrect`, `sh`. */
  info: string;
  code: string;
}

/** README.md, every README under src, and the recipes. */
export function readmes(): string[] {
  const inside = readdirSync(join(ROOT, "src"), { recursive: true, encoding: "utf8" }).filter((path) =>
    path.endsWith("README.md"),
  );
  const recipes = readdirSync(join(ROOT, "examples/recipes"));
  return [
    "README.md",
    ...inside.map((path) => join("src", path)).sort(),
    ...recipes.sort().map((path) => join("examples/recipes", path)),
  ];
}

export function codeBlocks(path: string): CodeBlock[] {
  const blocks: CodeBlock[] = [];
  let open: { line: number; info: string; lines: string[] } | undefined;
  for (const [index, line] of readFileSync(join(ROOT, path), "utf8").split("\n").entries()) {
    if (!line.startsWith("```")) open?.lines.push(line);
    else if (open === undefined) open = { line: index + 1, info: line.slice(3).trim(), lines: [] };
    else {
      blocks.push({ where: `${path}:${open.line}`, info: open.info, code: `${open.lines.join("\n")}\n` });
      open = undefined;
    }
  }
  return blocks;
}
