import type { z } from "zod";

/** For what describes itself. A test compares the tables with the settings that get it. */
export const SEE_README = "See its row in the tables that README.md of this package has or links.";

/** Names of zod's types in a message. */
const TYPES: Readonly<Record<string, string>> = {
  array: "a list",
  boolean: "true or false",
  int: "a whole number",
  number: "a number",
  object: "an object",
  record: "an object",
  string: "a string",
};

interface Problem {
  readonly message: string;
  readonly remedy: string;
}

/**
 * Describes an issue that zod has found by itself: a wrong type, a value out of range, an unknown choice. A message
 * that the schema sets replaces ours.
 */
export function shapeProblem(issue: z.core.$ZodIssue): Problem {
  const { message, remedy } = describe(issue);
  return { message: ZODS_OWN.test(issue.message) ? message : sentence(issue.message), remedy };
}

/** The beginnings of the messages that zod writes when a schema sets none. */
const ZODS_OWN = /^(?:Invalid input|Invalid option: expected|Too (?:small|big): expected) ?/;

function describe(issue: z.core.$ZodIssue): Problem {
  switch (issue.code) {
    case "invalid_type":
      return typeProblem(issue.expected, /received (\w+)$/.exec(issue.message)?.[1] ?? "");
    case "too_small":
      return rangeProblem(issue.origin, "at least", issue.minimum);
    case "too_big":
      return rangeProblem(issue.origin, "at most", issue.maximum);
    case "invalid_value":
      return {
        message: "This value is not allowed.",
        remedy: `Use one of: ${issue.values.map((value) => JSON.stringify(value)).join(", ")}.`,
      };
    default:
      return { message: "This value is not allowed.", remedy: SEE_README };
  }
}

function typeProblem(expected: string, received: string): Problem {
  if (received === "undefined")
    return { message: "This setting is required.", remedy: "Set it, or remove the object that contains it." };
  const wanted = TYPES[expected] ?? `a ${expected}`;
  if (received === "RegExp") {
    return {
      message: `This must be ${wanted}. There are no regular expressions here.`,
      remedy: 'For all subdomains, write "https://*.example.com" as an origin and "*.example.com" as a host.',
    };
  }
  const remedy =
    expected === "array"
      ? 'Write a list, even for one entry: ["…"].'
      : expected === "object"
        ? "Write an object; {} uses the defaults."
        : `Write ${wanted}${received === "string" && expected !== "boolean" ? ", without quotes" : ""}.`;
  return { message: `This must be ${wanted}.`, remedy };
}

function rangeProblem(origin: string, bound: "at least" | "at most", limit: number | bigint): Problem {
  const amount = `${bound} ${String(limit)}`;
  if (origin === "string")
    return { message: `This must have ${amount} characters.`, remedy: `Write ${amount} characters.` };
  if (origin === "array") {
    const entries = `${amount} ${Number(limit) === 1 ? "entry" : "entries"}`;
    return { message: `The list must have ${entries}.`, remedy: `List ${entries}.` };
  }
  return { message: `This must be ${amount}.`, remedy: `Use ${amount}.` };
}

/** A message of a schema may be a fragment that another error continues; in an issue it ends with a period or question mark. */
export function sentence(message: string): string {
  return /[.?]$/.test(message) ? message : `${message}.`;
}
