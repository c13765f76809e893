import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import ts from "typescript";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { parseSettings, SettingsError } from "portcullis";
import { ROOT } from "./support/code-blocks.js";

/**
 * asvs.json says of each requirement what proves it (E: tests), what turns it on (O: a setting or helper and its page) or where
 * it is written (D), or why it is not covered. A row with tests and a reason is proved in part and counts as not covered. Whether a
 * test proves its sentence is for a reader; that it is there, for this file.
 */
const CHECKLIST = join(ROOT, "../shared/research/asvs.md");

const why = z.string().min(20);
const docs = z.strictObject({ file: z.string(), heading: z.string(), says: z.string().min(10).optional() });
const head = { id: z.string().regex(/^V\d+\.\d+\.\d+$/), level: z.union([z.literal(1), z.literal(2), z.literal(3)]) };
const tests = z.array(z.strictObject({ file: z.string(), title: z.string() })).min(1);
/** Strict, so that an entry with neither a proof nor a reason is of no shape. */
const requirementSchema = z.union([
  z.strictObject({ ...head, mark: z.literal("E"), tests }),
  // Tests prove a part, and the reason names the other.
  z.strictObject({ ...head, mark: z.literal("E"), tests, because: why }),
  z.strictObject({ ...head, mark: z.literal("O"), setting: z.string(), docs }),
  // A page that is named without a setting has to say the thing itself.
  z.strictObject({ ...head, mark: z.enum(["O", "D"]), docs: docs.required() }),
  z.strictObject({ ...head, mark: z.enum(["E", "O", "D"]), because: why }),
]);
const asvsSchema = z.strictObject({
  counts: z.record(z.string(), z.strictObject({ covered: z.int(), because: z.int() })),
  requirements: z.array(z.unknown()),
});
type Requirement = z.infer<typeof requirementSchema>;

const asvs = asvsSchema.parse(JSON.parse(readFileSync(join(ROOT, "test/asvs.json"), "utf8")));
const parsed = asvs.requirements.map((given) => ({ given, result: requirementSchema.safeParse(given) }));
const requirements: readonly Requirement[] = parsed.flatMap(({ result }) => (result.success ? [result.data] : []));

/** Titles of the tests in a file that run: `it`, `test` and their `each`; what is skipped is none, nor is a `describe`. */
function titlesIn(file: string): ReadonlySet<string> {
  const source = ts.createSourceFile(file, readFileSync(join(ROOT, file), "utf8"), ts.ScriptTarget.Latest);
  const titles = new Set<string>();
  const visit = (node: ts.Node): void => {
    if (ts.isCallExpression(node) && /^(?:it|test)(?:$|\.each\b)/.test(node.expression.getText(source))) {
      const [title] = node.arguments;
      if (title !== undefined && ts.isStringLiteralLike(title)) titles.add(title.text);
      else if (title !== undefined && ts.isTemplateExpression(title)) titles.add(title.getText(source).slice(1, -1));
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return titles;
}

const titles = new Map<string, ReadonlySet<string>>();
function missingTest({ file, title }: { file: string; title: string }): string | undefined {
  if (!/^test\/.+\.test\.ts$/.test(file) || !existsSync(join(ROOT, file))) return `there is no test file ${file}`;
  const known = titles.get(file) ?? titlesIn(file);
  titles.set(file, known);
  return known.has(title) ? undefined : `${file} has no test "${title}"`;
}

const oneLine = (text: string): string => text.replaceAll(/\s+/g, " ");

/** The text below a heading, down to the next of its rank; undefined when there is no such heading. */
function sectionOf(file: string, heading: string): string | undefined {
  const lines = readFileSync(join(ROOT, file), "utf8").split("\n");
  const start = lines.findIndex((line) => /^#{1,6} /.test(line) && line.replace(/^#+ /, "") === heading);
  if (start === -1) return undefined;
  const rank = lines[start]?.indexOf(" ") ?? 0;
  const length = lines.slice(start + 1).findIndex((line) => /^#{1,6} /.test(line) && line.indexOf(" ") <= rank);
  return oneLine(lines.slice(start + 1, length === -1 ? undefined : start + 1 + length).join("\n"));
}

/** Whether the schema knows a setting, as its own answer to a stranger at that place lists them. */
function isSetting(path: string): boolean {
  const names = path.split(".");
  const settings = names.slice(0, -1).reduceRight<object>((inside, name) => ({ [name]: inside }), { "?": 1 });
  try {
    parseSettings(settings);
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error;
    const known = error.issues.map(({ code, message }) =>
      code === "unknown-setting" ? /Known: (.+)\.$/.exec(message)?.[1] : undefined,
    );
    return known.some((list) => list?.split(", ").includes(names.at(-1) ?? ""));
  }
  return false;
}

/** A layer's page names its settings without the layer: headers.frameOptions is `frameOptions` there. */
const nameOnPage = (setting: string): string => `\`${setting.replace(/^[^.]+\./, "")}\``;

function wrongWith(requirement: Requirement): string[] {
  if ("tests" in requirement) return requirement.tests.flatMap((test) => missingTest(test) ?? []);
  if ("because" in requirement) return [];
  const { file, heading, says } = requirement.docs;
  if (!existsSync(join(ROOT, file))) return [`there is no page ${file}`];
  const section = sectionOf(file, heading);
  if (section === undefined) return [`${file} has no heading "${heading}"`];
  const wrong: string[] = [];
  if (says !== undefined && !section.includes(oneLine(says)))
    wrong.push(`"${heading}" of ${file} does not say "${says}"`);
  if (!("setting" in requirement)) return wrong;
  if (!isSetting(requirement.setting)) wrong.push(`there is no setting ${requirement.setting}`);
  if (!section.includes(nameOnPage(requirement.setting)))
    wrong.push(`"${heading}" of ${file} does not name ${nameOnPage(requirement.setting)}`);
  return wrong;
}

/** `L1 E` to how many are covered, and how many say why they are not. */
function counted(): Record<string, { covered: number; because: number }> {
  const counts: Record<string, { covered: number; because: number }> = {};
  for (const requirement of requirements) {
    const count = (counts[`L${requirement.level} ${requirement.mark}`] ??= { covered: 0, because: 0 });
    count["because" in requirement ? "because" : "covered"] += 1;
  }
  return counts;
}

describe("ASVS 5.0", () => {
  it("every entry has a proof of the kind of its mark, or a reason why it is not covered", () => {
    expect(parsed.flatMap(({ given, result }) => (result.success ? [] : [given]))).toEqual([]);
    expect(new Set(requirements.map(({ id }) => id)).size).toBe(requirements.length);
  });

  it("every test, setting and page that an entry names exists", () => {
    expect(
      requirements.flatMap((requirement) => wrongWith(requirement).map((what) => `${requirement.id}: ${what}`)),
    ).toEqual([]);
  });

  it("every requirement of the checklist is here, with its level and mark, and no other", () => {
    if (!existsSync(CHECKLIST)) {
      process.stdout.write(
        `test/asvs.test.ts: ${CHECKLIST} is not there, so asvs.json was not held against it. It is kept beside the repository, not in it.\n`,
      );
      return;
    }
    const rows = [
      ...readFileSync(CHECKLIST, "utf8").matchAll(/^\| (V\d+\.\d+\.\d+) \| (\d) \| [^|]+ \| ([A-Z]+) \|/gm),
    ].map(([, id, level, mark]) => `${id} ${level} ${mark}`);
    expect(rows.length).toBeGreaterThan(200);
    expect(requirements.map(({ id, level, mark }) => `${id} ${level} ${mark}`).sort()).toEqual(rows.sort());
  });

  // The titles are the report: a count that is no longer true fails under the number it claims.
  const groups = Object.entries(asvs.counts).map(([group, { covered, because }]) => [group, covered, because] as const);
  it.each(groups)("%s: %i covered, %i say why not", (group, covered, because) => {
    expect(counted()[group]).toEqual({ covered, because });
  });

  it("no group is left out of the counts", () => {
    expect(Object.keys(asvs.counts).sort()).toEqual(Object.keys(counted()).sort());
  });

  it("an entry that names a missing test, setting or page fails", () => {
    expect(missingTest({ file: "test/asvs.test.ts", title: "%s: %i covered, %i say why not" })).toBeUndefined();
    expect(missingTest({ file: "test/asvs.test.ts", title: "ASVS 5.0" })).toMatch(/has no test/);
    expect(missingTest({ file: "test/none.test.ts", title: "x" })).toMatch(/no test file/);
    expect([
      isSetting("database"),
      isSetting("headers.contentSecurityPolicy.directives"),
      isSetting("headers.frameOption"),
      isSetting("headers.frameOptions.x"),
    ]).toEqual([true, true, false, false]);
    expect([sectionOf("README.md", "Stores") === undefined, sectionOf("README.md", "Store") === undefined]).toEqual([
      false,
      true,
    ]);
  });
});
