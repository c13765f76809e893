import { expect, it } from "vitest";
import type { z } from "zod";
import { SettingsError, type SettingsIssue } from "../../src/settings/errors.js";
import { parse } from "../../src/settings/object.js";

export function issuesOf(schema: z.ZodType, settings: unknown): readonly SettingsIssue[] {
  try {
    parse(schema, settings);
  } catch (error) {
    if (error instanceof SettingsError) return error.issues;
    throw error;
  }
  return [];
}

/** A number setting and its documented ends. */
export interface Edge {
  /** `limit`, or `perPrincipal.limit` */
  readonly name: string;
  readonly lowest: number;
  readonly highest: number;
  /** What must stand beside it. */
  readonly beside?: object;
}

function nested(name: string, value: unknown, beside: object): object {
  const [first = name, second] = name.split(".");
  const around = (beside as Record<string, object | undefined>)[first];
  return { ...beside, [first]: second === undefined ? value : { ...around, [second]: value } };
}

/** Both ends are taken; one more or less is refused, and the remedy names the end. */
export function testEdges(schema: z.ZodType, edges: readonly Edge[]): void {
  it.each(edges)("$name accepts $lowest to $highest, and no other number", ({ name, lowest, highest, beside = {} }) => {
    const found = (value: number): readonly SettingsIssue[] => issuesOf(schema, nested(name, value, beside));
    expect(found(lowest)).toEqual([]);
    expect(found(highest)).toEqual([]);
    expect(found(lowest - 1)).toContainEqual({
      code: "wrong-value",
      path: name,
      message: `This must be at least ${lowest}.`,
      remedy: `Use at least ${lowest}.`,
    });
    expect(found(highest + 1)).toContainEqual({
      code: "wrong-value",
      path: name,
      message: `This must be at most ${highest}.`,
      remedy: `Use at most ${highest}.`,
    });
  });
}

/** Texts a setting takes, each with a twin it refuses. */
export function testTexts(
  schema: z.ZodType,
  name: string,
  rows: readonly (readonly [taken: string, refused: string])[],
  message = /\w{3}/,
): void {
  it.each(rows)(`${name} accepts %j and refuses %j`, (taken, refused) => {
    expect(issuesOf(schema, { [name]: taken })).toEqual([]);
    expect(issuesOf(schema, { [name]: refused })).toEqual([
      {
        code: "wrong-value",
        path: name,
        message: expect.stringMatching(message) as string,
        remedy: expect.stringMatching(/\w{3}/) as string,
      },
    ]);
  });
}
