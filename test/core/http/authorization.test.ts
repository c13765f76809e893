import fc from "fast-check";
import type { IncomingMessage } from "node:http";
import { describe, expect, it } from "vitest";
import { parseAuthorization, readAuthorization } from "../../../src/core/http/authorization.js";

/** A request whose lines are these, as Node hands it over: of several Authorization lines `headers` has the first. */
function request(...lines: string[]): IncomingMessage {
  const headers = lines.length === 0 ? {} : { authorization: lines[0] };
  return { headers, rawHeaders: lines.flatMap((line) => ["Authorization", line]) } as IncomingMessage;
}

describe("readAuthorization", () => {
  it.each([
    { name: "no line", lines: [], read: { kind: "none" } },
    { name: "one line", lines: ["Bearer abc"], read: { kind: "credentials", scheme: "bearer", value: "abc" } },
    { name: "two lines", lines: ["Bearer abc", "Bearer abc"], read: { kind: "repeated" } },
    { name: "two lines, the first empty", lines: ["", "Bearer abc"], read: { kind: "repeated" } },
    { name: "two lines of different schemes", lines: ["Basic x", "Bearer abc"], read: { kind: "repeated" } },
    { name: "an empty line", lines: [""], read: { kind: "credentials", scheme: "", value: "" } },
  ])("$name", ({ lines, read }) => expect(readAuthorization(request(...lines))).toEqual(read));

  it("reads `headers` where an adapter leaves `rawHeaders` empty", () => {
    const req = { headers: { authorization: "Bearer abc" }, rawHeaders: [] as string[] } as IncomingMessage;
    expect(readAuthorization(req)).toEqual({ kind: "credentials", scheme: "bearer", value: "abc" });
  });

  it("reads what middleware in front has set in `headers`", () => {
    const req = { headers: { authorization: "Bearer abc" }, rawHeaders: ["Authorization", "Basic x"] };
    expect(readAuthorization(req as unknown as IncomingMessage)).toMatchObject({ scheme: "bearer", value: "abc" });
  });

  it.each([
    { given: ["Bearer abc"], read: { kind: "credentials", scheme: "bearer", value: "abc" } },
    { given: ["Bearer abc", "Bearer abd"], read: { kind: "repeated" } },
    { given: [], read: { kind: "none" } },
  ])("reads a list, as an adapter may set it in `headers`: $given", ({ given, read }) => {
    const headers = { authorization: given } as unknown as IncomingMessage["headers"];
    for (const rawHeaders of [undefined, []])
      expect(readAuthorization({ headers, rawHeaders } as unknown as IncomingMessage)).toEqual(read);
  });
});

describe("parseAuthorization", () => {
  it.each([
    ["Bearer abc", "bearer", "abc"],
    ["bEARER abc", "bearer", "abc"],
    ["Bearer   abc", "bearer", "abc"],
    ["Bearer", "bearer", ""],
    ["Bearer ", "bearer", ""],
    ["Bearer\tabc", "bearer", ""],
    ["Bearer a b", "bearer", "a b"],
    ["BearerX abc", "bearerx", "abc"],
    ["Bearer,abc", "bearer,abc", ""],
    ["Digest abc", "digest", "abc"],
    ["abc", "abc", ""],
    [" abc", "", "abc"],
  ])("reads %j", (text, scheme, value) =>
    expect(parseAuthorization(text)).toEqual({ kind: "credentials", scheme, value }),
  );

  it("reads back any scheme and any token, and never throws", () => {
    const scheme = fc.stringMatching(/^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/);
    const word = fc.stringMatching(/^[A-Za-z0-9._~+/-]+=*$/);
    fc.assert(
      fc.property(scheme, fc.stringMatching(/^ {1,5}$/), word, (name, spaces, value) => {
        expect(parseAuthorization(`${name}${spaces}${value}`)).toEqual({
          kind: "credentials",
          scheme: name.toLowerCase(),
          value,
        });
      }),
    );
    fc.assert(fc.property(fc.string({ unit: "binary" }), (text) => parseAuthorization(text).kind === "credentials"));
  });
});
