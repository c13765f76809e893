import express from "express";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { trustedHost } from "portcullis";
import { serve, type TestServer } from "../support/serve.js";
import { runs } from "./seed.js";

vi.setConfig({ testTimeout: runs(60_000) });

const ENTRIES = [
  "api.example.com",
  "*.example.org",
  "*.dev.example.net:8443",
  "localhost:8080",
  "127.0.0.1",
  "[::1]",
  "[2001:db8::7]",
  "xn--bcher-kva.example",
  "my_service",
];
const NAMES = [
  "api.example.com",
  "a.example.org",
  "a.b.example.org",
  "example.org",
  "x.dev.example.net",
  "localhost",
  "127.0.0.1",
  "[::1]",
  "[2001:db8::7]",
  "xn--bcher-kva.example",
  "my_service",
  "evil.com",
];
/** The same hosts as others write them: some are read as the same by the URL standard, some as another, some not at all. */
const SPELLINGS = [
  "127.1",
  "127.0.1",
  "2130706433",
  "0x7f000001",
  "0x7f.0.0.1",
  "0177.0.0.1",
  "127.0.0.01",
  "1.2.3.4.",
  "[0:0:0:0:0:0:0:1]",
  "[::0.0.0.1]",
  "[::ffff:127.0.0.1]",
  "[2001:DB8:0::7]",
  "[::1%25lo]",
  "::1",
  "[::1",
  "b\u00fccher.example",
  "B\u00dcCHER.example",
  "api.example\u3002com",
  "\uff41pi.example.com",
  "api.ex\u00adample.com",
  "api.exam\u24dfle.com",
  "%61pi.example.com",
  "api%2eexample.com",
  "127.0.0.1%00",
  "XN--BCHER-KVA.example",
  "xn--a",
];
const AROUND = [
  "evil.com@",
  "user:pw@",
  "@",
  "//",
  "/",
  "\\",
  "\\\\",
  "?",
  "#",
  ".",
  "..",
  ":",
  ":80",
  ":0",
  ":080",
  ":8080",
  ":8443",
  ":443",
  ":65535",
  ":65536",
  ":8080@evil.com",
  ".evil.com",
  "evil",
  "-",
  ",evil.com",
  " evil.com",
  "\t",
  ";",
  "%",
  "%2f",
  "\u00a0",
  "*",
];
const noise = fc.constantFrom(..."aZ09.-_:@/\\?#%[]\t ,;*'|\u00e9\u3002\u0007\u007f");

const mixedCase = (text: string) => fc.mixedCase(fc.constant(text));
const written = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom(...NAMES).chain(mixedCase) },
  { weight: 1, arbitrary: fc.constantFrom(...SPELLINGS) },
);
const around = (weight: number) =>
  fc.oneof({ weight, arbitrary: fc.constant("") }, { weight: 1, arbitrary: fc.constantFrom(...AROUND) });
const decorated = fc.tuple(around(5), written, around(1), around(5)).map((parts) => parts.join(""));
const damaged = fc.tuple(decorated, fc.nat(), noise).map(([text, where, char]) => {
  const at = where % (text.length + 1);
  return text.slice(0, at) + char + text.slice(at);
});
const authority = fc.oneof(
  { weight: 4, arbitrary: decorated },
  { weight: 2, arbitrary: damaged },
  { weight: 1, arbitrary: fc.string({ unit: noise, maxLength: 30 }) },
);
const hostLists = fc.oneof(fc.constant(ENTRIES), fc.subarray(ENTRIES, { minLength: 1 }));

/** Whether the URL standard's host and port are those of an entry. */
function isOneOf(entries: readonly string[], url: URL): boolean {
  const hostname = url.hostname.replace(/\.$/, "");
  return entries.some((entry) => {
    const own = new URL(`http://${entry.replace(/^\*\./, "")}`);
    const sameHost = entry.startsWith("*.") ? hostname.endsWith(`.${own.hostname}`) : hostname === own.hostname;
    return sameHost && (own.port === "" || own.port === url.port);
  });
}

/** What the URL standard reads, when it reads no more than a host and a port. */
function readAsHost(text: string): URL | undefined {
  if (!URL.canParse(`http://${text}`)) return undefined;
  const url = new URL(`http://${text}`);
  return url.username + url.password + url.search + url.hash === "" && url.pathname === "/" && !/[/\\?#@]/.test(text)
    ? url
    : undefined;
}

describe("an accepted Host is the host that the URL standard reads, and one of ours", () => {
  let server: TestServer;
  let handler = trustedHost(["a.example"]);
  /** What the route was told, for each request that got there. */
  let told: { header: string; hostname: string }[] = [];
  beforeAll(async () => {
    const app = express();
    app.use((req, res, next) => void handler(req, res, next));
    app.use((req, res) => {
      told.push({ header: req.headers.host ?? "", hostname: req.hostname });
      res.send("ok");
    });
    server = await serve(app);
  });
  afterAll(() => server.close());

  /** Sends the text as it is, in UTF-8. What came to the route, or nothing. */
  async function arrives(target: string, host: string): Promise<{ header: string; hostname: string } | undefined> {
    told = [];
    const answer = await server.raw(
      Buffer.from(`GET ${target} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`),
    );
    // 404 is Express's own, for a target in which it finds no path: no layer and no route ran.
    expect(answer.slice(0, 12)).toMatch(told.length === 1 ? /^HTTP\/1\.1 200$/ : /^HTTP\/1\.1 40[04]$/);
    return told[0];
  }

  it("for any text in the field", async () => {
    const seen = { let: 0, other: 0, unreadable: 0 };
    await fc.assert(
      fc.asyncProperty(hostLists, authority, async (hosts, text) => {
        handler = trustedHost(hosts);
        const route = await arrives("/", text);
        // White space around a field's value is not part of it (RFC 9110 section 5.5).
        const url = readAsHost(text.replace(/^[\t ]+|[\t ]+$/g, ""));
        if (route === undefined) {
          seen[url === undefined ? "unreadable" : "other"] += 1;
          return;
        }
        seen.let += 1;
        expect(url).toBeDefined();
        expect(isOneOf(hosts, url!)).toBe(true);
        // What the app builds links from is the same host.
        expect(new URL(`http://${route.hostname}`).hostname).toBe(url?.hostname);
        expect(new URL(`http://${route.header}`).host).toBe(url?.host);
      }),
      { numRuns: runs(1500) },
    );
    expect(Math.min(seen.let, seen.other, seen.unreadable)).toBeGreaterThan(60);
  });

  it("for any pair of target and field, and both name it", async () => {
    const near = fc
      .tuple(
        fc.constantFrom("api.example.com", "127.0.0.1", "[::1]", "evil.com"),
        fc.constantFrom("", "", "", ":80", ":8080", ".", "@evil.com", "/", "\\", "?"),
      )
      .map((parts) => parts.join(""));
    const seen = { let: 0, kept: 0 };
    await fc.assert(
      fc.asyncProperty(
        hostLists,
        fc.constantFrom("http", "HTTP"),
        fc.oneof(
          near.map((text) => [text, text]),
          fc.tuple(near, near),
          fc.tuple(near, authority),
          fc.tuple(authority, near),
        ),
        async (hosts, scheme, [target = "", text = ""]) => {
          // A space ends the target, and a line's end the request: that is no longer one request for one target.
          fc.pre(!/[\s\x00-\x20]/.test(target));
          handler = trustedHost(hosts);
          const route = await arrives(`${scheme}://${target}`, text);
          seen[route === undefined ? "kept" : "let"] += 1;
          if (route === undefined) return;
          const [named, field] = [new URL(`${scheme}://${target}`), readAsHost(text.trim())];
          expect(field).toBeDefined();
          expect(named.host.replace(/\.(?=:|$)/, "")).toBe(field?.host.replace(/\.(?=:|$)/, ""));
          expect(named.username + named.password).toBe("");
          expect(isOneOf(hosts, named)).toBe(true);
        },
      ),
      { numRuns: runs(800) },
    );
    expect(Math.min(seen.let, seen.kept)).toBeGreaterThan(15);
  });

  it("and none of ours is refused, in any case, with any port the entry accepts, with or without one closing dot", async () => {
    const own = fc.constantFrom(
      ["api.example.com", "api.example.com"],
      ["*.example.org", "x.y.example.org"],
      ["localhost:8080", "localhost:8080"],
      ["127.0.0.1", "127.0.0.1"],
      ["my_service", "my_service"],
      ["[2001:db8::7]", "[2001:db8:0:0::7]"],
    );
    await fc.assert(
      fc.asyncProperty(
        own.chain(([entry = "", name = ""]) => fc.tuple(fc.constant(entry), mixedCase(name))),
        fc.option(fc.integer({ min: 1, max: 65_535 })),
        fc.boolean(),
        async ([entry, name], port, dot) => {
          handler = trustedHost([entry]);
          const [host = "", end = ""] = /^(.*?)(:8080)?$/.exec(name)?.slice(1) ?? [];
          const text = `${host}${dot && !host.startsWith("[") ? "." : ""}${end !== "" ? end : port === null ? "" : `:${port}`}`;
          expect([text, await arrives("/", text)]).toEqual([text, expect.objectContaining({ header: text })]);
        },
      ),
      { numRuns: runs(300) },
    );
  });
});
