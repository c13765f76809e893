import { describe, expect, it } from "vitest";
import { addressRangeSchema, exemptPathSchema, modeSchema, secondsSchema } from "../../src/settings/common.js";
import { scopeSchema } from "../../src/settings/identity.js";
import { parse, settingsObject } from "../../src/settings/object.js";
import { issuesOf, testEdges, testTexts } from "./edges.js";

const schema = settingsObject({
  mode: modeSchema,
  seconds: secondsSchema.optional(),
  range: addressRangeSchema.optional(),
  scope: scopeSchema.optional(),
  path: exemptPathSchema.optional(),
});

describe("settings that several protections share", () => {
  testEdges(schema, [{ name: "seconds", lowest: 1, highest: 2 ** 31 - 1 }]);

  testTexts(schema, "path", [
    ["/", ""],
    ["/health", "health"],
    ["/health", "x/health"],
    ['/!"$>@~', "/#"],
    ["/a", "/a?b"],
    ["/a/b", "/a b"],
    ["/%C3%A9", "/é"],
    ["/a", "/a\n"],
    ["/a", "/\x7f"],
  ]);

  testTexts(
    schema,
    "scope",
    [
      ["read", ""],
      ["orders:write", "orders:"],
      ["orders:*", "orders *"],
      ["a.b_c-d", "a/b"],
    ],
    /Must be words of letters, digits, '\.', '_' or '-', joined by colons, and optionally ':\*' at the end\./,
  );

  it.each([
    ["192.0.2.7", "192.0.2.256", /This is not an IP address or a CIDR range\./],
    ["192.0.2.0/32", "192.0.2.0/33", /prefix length/],
    ["2001:db8::1", "2001:db8::g", /This is not an IP address or a CIDR range\./],
    ["2001:db8::/128", "2001:db8::/129", /prefix length/],
  ])("an address or range is %s and not %s", (taken, refused, message) => {
    expect(parse(schema, { range: taken }).range).toBe(taken);
    expect(issuesOf(schema, { range: refused })).toEqual([
      {
        code: "wrong-value",
        path: "range",
        message: expect.stringMatching(message) as string,
        remedy: expect.stringMatching(/192\.0\.2\.0\/24/) as string,
      },
    ]);
  });

  it('the mode is "enforce" by default, or "report"', () => {
    expect(parse(schema, {})).toEqual({ mode: "enforce" });
    expect(parse(schema, { mode: "report" })).toEqual({ mode: "report" });
    expect(parse(schema, { mode: "enforce" })).toEqual({ mode: "enforce" });
    expect(issuesOf(schema, { mode: "off" })).toMatchObject([
      { code: "wrong-value", path: "mode", remedy: 'Use one of: "enforce", "report".' },
    ]);
  });
});
