import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isLoopbackHost, OriginPatterns, parseOrigin } from "../../../src/core/http/origin.js";
import { originPatternSchema } from "../../../src/settings/origin-pattern.js";
import { parse } from "../../../src/settings/object.js";

describe("parseOrigin", () => {
  it.each([
    ["https://example.com", { scheme: "https", host: "example.com", port: 443 }],
    ["http://example.com", { scheme: "http", host: "example.com", port: 80 }],
    ["https://example.com:8443", { scheme: "https", host: "example.com", port: 8443 }],
    ["https://example.com:80", { scheme: "https", host: "example.com", port: 80 }],
    ["http://my_service:3000", { scheme: "http", host: "my_service", port: 3000 }],
    ["https://example.com.", { scheme: "https", host: "example.com.", port: 443 }],
    ["http://127.0.0.1:5173", { scheme: "http", host: "127.0.0.1", port: 5173 }],
    ["http://[::1]:3000", { scheme: "http", host: "[::1]", port: 3000 }],
    ["https://[2001:db8::1]", { scheme: "https", host: "[2001:db8::1]", port: 443 }],
    ["https://xn--bcher-kva.example", { scheme: "https", host: "xn--bcher-kva.example", port: 443 }],
    ["tauri://localhost", { scheme: "tauri", host: "localhost", port: 0 }],
    ["app://-", { scheme: "app", host: "-", port: 0 }],
    [
      "safari-web-extension://6F1C2A4B-9D3E-4C5F-8A7B-0123456789AB",
      { scheme: "safari-web-extension", host: "6f1c2a4b-9d3e-4c5f-8a7b-0123456789ab", port: 0 },
    ],
    ["app://.", { scheme: "app", host: ".", port: 0 }],
    [
      "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
      { scheme: "chrome-extension", host: "abcdefghijklmnopabcdefghijklmnop", port: 0 },
    ],
    [
      `https://${`${"a".repeat(63)}.`.repeat(3)}${"a".repeat(61)}`,
      { scheme: "https", host: `${`${"a".repeat(63)}.`.repeat(3)}${"a".repeat(61)}`, port: 443 },
    ],
  ])("reads %s", (text, origin) => {
    expect(parseOrigin(text)).toEqual(origin);
  });

  it.each([
    "",
    "null",
    "*",
    "example.com",
    "https:",
    "https://",
    "https:/example.com",
    "://example.com",
    "https:example.com",
    "https://Example.com",
    "HTTPS://example.com",
    "APP://example",
    "app://Exa\u212Aple",
    "app://Example/",
    "https://example.com/",
    "https://example.com?x",
    "https://example.com#x",
    "https://user@example.com",
    "https://evil@example.com",
    "https://example.com\\x",
    "https://example.com,https://example.com",
    "https://example.com, https://example.com",
    " https://example.com",
    "https://example.com ",
    "https://exa mple.com",
    "https://example.com:443",
    "http://example.com:80",
    "https://example.com:",
    "https://example.com:0",
    "https://example.com:08443",
    "https://example.com:65536",
    "https://example.com:99999",
    "https://example.com:8a",
    "https://example.com:-1",
    "https://example.com:80:80",
    "https://.example.com",
    "https://example..com",
    "https://example.com..",
    "https://.",
    "https://-a.com",
    "https://a-.com",
    "https://*.example.com",
    "https://bücher.example",
    "https://ex%61mple.com",
    "https://１.example",
    "https://K.example",
    "http://127.1",
    "http://2130706433",
    "http://0x7f.1",
    "http://127.0.0.0x1",
    "http://127.0.0.256",
    "http://127.0.0.01",
    "http://127.0.0.1.",
    "https://a.1",
    "http://[::1",
    "http://::1",
    "http://[::1]x",
    "http://[::1]evil:80",
    "http://[0::1]",
    "http://[::FFFF]",
    "http://[::ffff:1.2.3.4]",
    "http://[fe80::1%25eth0]",
    "http://[fe80::1%eth0]",
    "http://[]",
    "http://[1.2.3.4]",
    `https://${"a".repeat(64)}.com`,
    `https://${"a.".repeat(127)}aa`,
    `https://${"a".repeat(20_000)}`,
    "https://example.com\0",
    "https://example.com\n",
  ])("refuses %j", (text) => {
    expect(parseOrigin(text)).toBeUndefined();
  });

  it("accepts no http origin that the URL standard would write differently, and never throws", () => {
    const piece = fc.constantFrom(
      "https",
      "http",
      "://",
      ":",
      "/",
      "//",
      "a",
      "example",
      ".",
      ".com",
      "[",
      "]",
      "::1",
      "::ffff:7f00:1",
      "1",
      "0",
      "127",
      "0x7f",
      "@",
      "*",
      "-",
      "_",
      "A",
      "443",
      "80",
      "é",
      "%",
      " ",
      "?",
      "#",
    );
    const near = fc.array(piece, { maxLength: 8 }).map((pieces) => pieces.join(""));
    const likely = fc.tuple(fc.constantFrom("https://", "http://"), near).map(([scheme, rest]) => scheme + rest);
    let accepted = 0;
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: "binary" }), near, { weight: 4, arbitrary: likely }), (text) => {
        const origin = parseOrigin(text);
        if (origin === undefined || !/^https?$/.test(origin.scheme)) return;
        accepted += 1;
        const url = new URL(text);
        expect(url.origin).toBe(text);
        expect({ scheme: url.protocol, host: url.hostname, port: url.port }).toEqual({
          scheme: `${origin.scheme}:`,
          host: origin.host,
          port: origin.port === (origin.scheme === "https" ? 443 : 80) ? "" : String(origin.port),
        });
      }),
      { numRuns: 20_000 },
    );
    expect(accepted).toBeGreaterThan(100);
  });
});

describe("isLoopbackHost", () => {
  it.each(["localhost", "app.localhost", "127.0.0.1", "127.9.9.9", "[::1]"])("accepts %s", (host) =>
    expect(isLoopbackHost(host)).toBe(true),
  );
  it.each([
    "localhost.example.com",
    "notlocalhost",
    "127.0.0.1.example.com",
    "127.example.com",
    "128.0.0.1",
    "[::2]",
    "0.0.0.0",
    "10.0.0.1",
  ])("refuses %s", (host) => expect(isLoopbackHost(host)).toBe(false));
});

describe("OriginPatterns", () => {
  const patterns = new OriginPatterns([
    "https://app.example.org",
    "https://*.example.com",
    "https://*.example.com:8443",
    "http://*.dev.example.net",
    "tauri://localhost",
  ]);

  it.each([
    "https://app.example.org",
    "https://a.example.com",
    "https://a.b.c.example.com",
    "https://a.example.com:8443",
    "http://x.dev.example.net",
    "tauri://localhost",
    "https://xn--bcher-kva.example.com",
  ])("match %s", (origin) => expect(patterns.has(origin)).toBe(true));

  it.each([
    "https://example.com",
    "https://example.com:8443",
    "https://evil-example.com",
    "https://evilexample.com",
    "https://example.com.evil",
    "https://a.example.com.evil.org",
    "http://a.example.com",
    "https://a.example.com:444",
    "https://a.example.com:443",
    "https://a.example.com.",
    "https://.example.com",
    "https://*.example.com",
    "https://a..example.com",
    "https://A.example.com",
    "https://a.example.com/",
    "https://evil.org#.example.com",
    "https://evil.org/.example.com",
    "https://u@a.example.com",
    "https://evil.org\\.example.com",
    "https://evil.org?.example.com",
    "https://b.app.example.org",
    "http://app.example.org",
    "https://app.example.org:443",
    "https://dev.example.net",
    "http://dev.example.net",
    "http://a.example.net",
    "tauri://a.localhost",
    "null",
    "*",
    "",
    "https://a.example.com,https://a.example.com",
  ])("do not match %j", (origin) => expect(patterns.has(origin)).toBe(false));

  it.each([
    [
      "safari-web-extension://6F1C2A4B-9D3E-4C5F-8A7B-0123456789AB",
      "safari-web-extension://6f1c2a4b-9d3e-4c5f-8a7b-0123456789ab",
    ],
    [
      "safari-web-extension://6f1c2a4b-9d3e-4c5f-8a7b-0123456789ab",
      "safari-web-extension://6F1C2A4B-9D3E-4C5F-8A7B-0123456789AB",
    ],
    [
      "SAFARI-WEB-EXTENSION://6F1C2A4B-9D3E-4C5F-8A7B-0123456789AB",
      "safari-web-extension://6F1C2A4B-9D3E-4C5F-8A7B-0123456789AB",
    ],
    ["Chrome-Extension://ABCDEFGHIJKLMNOPABCDEFGHIJKLMNOP", "chrome-extension://abcdefghijklmnopabcdefghijklmnop"],
    ["Capacitor://LocalHost:8080", "capacitor://localhost:8080"],
    ["APP://-", "app://-"],
    ["HTTPS://app.example.com", "https://app.example.com"],
    ["HTTPS://*.example.com", "https://a.example.com"],
  ])("match with the entry %s the origin %s", (entry, origin) => {
    expect(new OriginPatterns([entry]).has(origin)).toBe(true);
    expect(parse(originPatternSchema, entry)).toBe(entry);
  });

  it.each([
    [
      "safari-web-extension://ABC-1",
      [
        "safari-web-extension://ABC-2",
        "safari-web-extension://abc-1:1",
        "safari-web-extension://abc-1/",
        "SAFARI-WEB-EXTENSION://ABC-1",
        "https://abc-1",
        "safari-web-extension://abc-1.x",
        "safari-web-extension://x.abc-1",
        " safari-web-extension://abc-1",
      ],
    ],
    ["app://kit", ["app://\u212Ait", "app://KIT.", "app://KIT, app://kit"]],
    ["HTTPS://app.example.com", ["HTTPS://app.example.com", "https://App.example.com", "http://app.example.com"]],
  ])("match no other origin with the entry %s", (entry, others) => {
    const list = new OriginPatterns([entry]);
    for (const other of others) expect([other, list.has(other)]).toEqual([other, false]);
  });

  it("refuse text that is not a pattern", () => {
    for (const text of [
      "*",
      "null",
      "https://*",
      "https://*.",
      "https://a.*.com",
      "tauri://*.localhost",
      "https://*.[::1]",
      "https://*.0.0.1",
      "https://*.*.com",
    ]) {
      expect(() => new OriginPatterns([text])).toThrow(RangeError);
    }
  });

  const label = fc.stringMatching(/^[a-z0-9](?:[a-z0-9-]{0,6}[a-z0-9])?$/);

  it("match any subdomain at any depth, and no host that does not end in the suffix", () => {
    fc.assert(
      fc.property(
        fc.array(label, { minLength: 1, maxLength: 6 }),
        fc.constantFrom(
          "",
          ".example.com",
          "example.com",
          ".example.com.evil",
          "-example.com",
          ".Example.com",
          ".example.com:8443",
          ".example.com:9",
        ),
        (labels, end) => {
          const host = labels.join(".") + end;
          const meant = end === ".example.com" || end === ".example.com:8443";
          expect(patterns.has(`https://${host}`)).toBe(meant || labels.join(".").endsWith(".example.com"));
        },
      ),
      { numRuns: 5000 },
    );
  });

  it("never match a host outside the suffix of a wildcard, whatever the text", () => {
    const only = new OriginPatterns(["https://*.example.com"]);
    const piece = fc.constantFrom(
      "https://",
      "http://",
      "a",
      ".",
      "-",
      "example.com",
      "example",
      "com",
      ".example.com",
      "evil",
      "/",
      "@",
      "#",
      "?",
      ":",
      "443",
      "\\",
      "%2e",
      "\0",
      "。",
      "[",
      "]",
      "*",
      " ",
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 8 }), (pieces) => {
        const text = `https://${pieces.join("")}`;
        if (!only.has(text)) return;
        const url = new URL(text);
        expect(url.origin).toBe(text);
        expect(url.hostname.endsWith(".example.com")).toBe(true);
        expect(url.port).toBe("");
      }),
      { numRuns: 20_000 },
    );
  });

  it("cost the same with one pattern and with fifty thousand", () => {
    const time = (size: number): number => {
      const list = new OriginPatterns(
        Array.from({ length: size }, (_, index) => `https://*.tenant${index}.example.com`),
      );
      const began = performance.now();
      for (let i = 0; i < 20_000; i += 1) list.has("https://a.b.c.evil.example.org");
      return performance.now() - began;
    };
    time(10);
    expect(time(50_000)).toBeLessThan(time(10) * 10 + 20);
  });
});
