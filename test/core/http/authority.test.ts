import { once } from "node:events";
import { connect, createServer } from "node:http2";
import type { AddressInfo } from "node:net";
import type { Request } from "express";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  hostLines,
  MAX_AUTHORITY_LENGTH,
  parseAuthority,
  parseTarget,
  sameAuthority,
} from "../../../src/core/http/authority.js";

const label63 = "a".repeat(63);
/** 253 characters, the longest name DNS has. */
const name253 = `${`${label63}.`.repeat(3)}${"a".repeat(61)}`;

describe("parseAuthority takes", () => {
  const taken: [text: string, host: string, port?: number][] = [
    ["example.com", "example.com"],
    ["EXAMPLE.Com", "example.com"],
    ["example.com.", "example.com"],
    ["example.com.:8080", "example.com", 8080],
    ["localhost", "localhost"],
    ["localhost:3000", "localhost", 3000],
    ["example.com:1", "example.com", 1],
    ["example.com:65535", "example.com", 65535],
    ["my_service", "my_service"],
    ["_sip._tcp.example.com", "_sip._tcp.example.com"],
    ["r3---sn-a.example.com", "r3---sn-a.example.com"],
    ["xn--bcher-kva.example", "xn--bcher-kva.example"],
    ["3com.com", "3com.com"],
    ["1.2.3.com", "1.2.3.com"],
    ["1e3", "1e3"],
    ["0xyz", "0xyz"],
    ["127.0.0.1", "127.0.0.1"],
    ["127.0.0.1:8080", "127.0.0.1", 8080],
    ["127.0.0.1.", "127.0.0.1"],
    ["[::1]", "[::1]"],
    ["[::1]:8080", "[::1]", 8080],
    ["[0:0:0:0:0:0:0:1]", "[::1]"],
    ["[2001:DB8::A]", "[2001:db8::a]"],
    ["[::ffff:127.0.0.1]", "[::ffff:7f00:1]"],
    [label63, label63],
    [name253, name253],
    [`${name253}.:65535`, name253, 65535],
  ];
  it.each(taken)("%s", (text, host, port) => {
    expect(parseAuthority(text)).toEqual({ host, port });
  });
});

describe("parseAuthority refuses", () => {
  const refused: [why: string, text: string][] = [
    ["nothing", ""],
    ["a space", " "],
    ["a space within", "a b"],
    ["a space before", " example.com"],
    ["a space after", "example.com "],
    ["a tab", "example.com\t"],
    ["an empty port", "example.com:"],
    ["port 0", "example.com:0"],
    ["a leading zero", "example.com:080"],
    ["a port too high", "example.com:65536"],
    ["a port too long", "example.com:100000"],
    ["a port that is none", "example.com:http"],
    ["a sign", "example.com:+80"],
    ["two ports", "example.com:80:80"],
    ["a port alone", ":80"],
    ["userinfo", "evil.com@localhost"],
    ["userinfo with password", "a:b@localhost"],
    ["a path", "localhost/evil.com"],
    ["a query", "localhost?x"],
    ["a fragment", "localhost#x"],
    ["a backslash", "localhost\\evil.com"],
    ["a percent sign", "ex%61mple.com"],
    ["a list", "good.com, evil.com"],
    ["a comma", "good.com,evil.com"],
    ["a URL", "http://example.com"],
    ["a NUL", "example.com\0"],
    ["a bare CR", "example.com\r"],
    ["a DEL", "example.com\x7f"],
    ["a byte above ASCII", "b\xfccher.de"],
    ["a fullwidth dot", "example\uff0ecom"],
    ["the Kelvin sign", "\u212aelvin.com"],
    ["an empty label", "a..b"],
    ["a leading dot", ".example.com"],
    ["two closing dots", "example.com.."],
    ["a dot alone", "."],
    ["a leading hyphen", "-a.com"],
    ["a closing hyphen", "a-.com"],
    ["a closing hyphen at the end", "a.com-"],
    ["a wildcard", "*.example.com"],
    ["a label too long", "a".repeat(64)],
    ["a name too long", `${name253}a`],
    ["a value too long", "1".repeat(MAX_AUTHORITY_LENGTH + 1)],
    ["a short address", "127.1"],
    ["an address as one number", "2130706433"],
    ["a hexadecimal address", "0x7f.1"],
    ["a hexadecimal number", "0x7f000001"],
    ["a hexadecimal prefix", "a.0x"],
    ["an octal address", "0177.0.0.1"],
    ["an octet too high", "1.2.3.256"],
    ["five octets", "1.2.3.4.5"],
    ["a name that ends in a number", "example.1"],
    ["a bare IPv6 address", "::1"],
    ["an open bracket", "[::1"],
    ["brackets around nothing", "[]"],
    ["brackets around a name", "[example.com]"],
    ["brackets around IPv4", "[127.0.0.1]"],
    ["a zone", "[fe80::1%25eth0]"],
    ["text after the bracket", "[::1]evil"],
    ["a name after the bracket", "[::1].example.com"],
    ["two addresses", "[::1][::1]"],
    ["two compressions", "[1::2::3]"],
    ["an IPv6 address with an empty port", "[::1]:"],
    ["a future address", "[v1.fe80::a]"],
    ["a bracket within", "a[::1]"],
  ];
  it.each(refused)("%s", (_why, text) => {
    expect(parseAuthority(text)).toBeUndefined();
  });
});

describe("parseAuthority, for all texts", () => {
  /** Characters hosts are made of, and those that matter to URL readers, so that near misses are common. */
  const near = fc.string({ unit: fc.constantFrom(..."aZ09x.-_:[]@/\\?#% ,*f\t\xe9\u212a"), maxLength: 24 });

  it("never throws, whatever the bytes", () => {
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: "binary", maxLength: 300 }), near), (text) => {
        const authority = parseAuthority(text);
        if (authority !== undefined) expect(authority.host).toMatch(/^[a-z0-9._:[\]-]+$/);
      }),
      { numRuns: 5000 },
    );
  });

  it("agrees with the URL standard about whom an accepted host names", () => {
    const plausible = fc.tuple(
      fc.oneof(
        fc.domain(),
        fc.ipV4(),
        fc.ipV6().map((address) => `[${address}]`),
        near,
        fc
          .array(fc.constantFrom("a", "B", "xn--a", "0", "09", "1", "127", "255", "0x1", "_", "a-b"), {
            minLength: 1,
            maxLength: 5,
          })
          .map((labels) => labels.join(".")),
      ),
      fc.constantFrom("", ".", ":8080", ".:1", ":80"),
    );
    let accepted = 0;
    fc.assert(
      fc.property(plausible, ([host, end]) => {
        const text = host + end;
        const authority = parseAuthority(text);
        // A label that only looks like punycode makes the URL reader give up; it never makes it read another name.
        if (authority === undefined || !URL.canParse(`http://${text}`))
          return authority === undefined || /xn--/i.test(text);
        accepted += 1;
        const url = new URL(`http://${text}`);
        expect(url.username + url.password + url.search + url.hash).toBe("");
        expect(url.pathname).toBe("/");
        expect(url.hostname.replace(/\.$/, "")).toBe(authority.host);
        expect(url.port === "" ? undefined : Number(url.port)).toBe(authority.port === 80 ? undefined : authority.port);
        return true;
      }),
      { numRuns: 5000 },
    );
    expect(accepted).toBeGreaterThan(1000);
  });

  it("gives a host that parses to itself", () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.domain(),
          fc.ipV4(),
          fc.ipV6().map((address) => `[${address}]`),
          near,
        ),
        (text) => {
          const once = parseAuthority(text);
          if (once !== undefined) expect(parseAuthority(once.host)).toEqual({ host: once.host, port: undefined });
        },
      ),
      { numRuns: 3000 },
    );
  });

  it("costs no more for a value of 16 KB than for a short one", () => {
    const long = "a.".repeat(8192);
    const start = process.hrtime.bigint();
    for (let i = 0; i < 100_000; i += 1) parseAuthority(long);
    expect(Number(process.hrtime.bigint() - start) / 1e6).toBeLessThan(500);
  });
});

describe("sameAuthority", () => {
  it.each([
    ["a", "a", "http", true],
    ["a:80", "a", "http", true],
    ["a", "a:443", "https", true],
    ["a:443", "a", "http", false],
    ["a:8080", "a:8080", "http", true],
    ["a:8080", "a:8081", "http", false],
    ["a", "b", "http", false],
    ["A.", "a", "http", true],
  ])("%s and %s over %s: %s", (a, b, scheme, same) => {
    const [left, right] = [parseAuthority(a), parseAuthority(b)];
    if (left === undefined || right === undefined) throw new Error("both must be authorities");
    expect(sameAuthority(left, right, scheme)).toBe(same);
  });
});

describe("parseTarget", () => {
  it.each([
    ["/", "/"],
    ["/a/b?c=/d", "/a/b"],
    ["/a#b", "/a"],
    ["//evil.com/x", "//evil.com/x"],
    ["/%2e%2e/a", "/%2e%2e/a"],
    ["*", "*"],
  ])("origin-form %s", (target, path) => {
    expect(parseTarget(target)).toEqual({ path, absolute: undefined });
  });

  it.each([
    ["http://a.com/x?y", "/x", "http", "a.com"],
    ["HTTPS://a.com:1", "/", "https", "a.com:1"],
    ["http://a.com?x=/health", "/", "http", "a.com"],
    ["http://a.com#/health", "/", "http", "a.com"],
    ["http://u@a.com/", "/", "http", "u@a.com"],
    ["http:///x", "/x", "http", ""],
  ])("absolute-form %s", (target, path, scheme, authority) => {
    expect(parseTarget(target)).toEqual({ path, absolute: { scheme, authority } });
  });

  it.each(["", "a.com:443", "ftp://a.com/", "x", "http:/a.com", "javascript:alert(1)"])(
    "refuses a form that no server accepts: %s",
    (target) => {
      expect(parseTarget(target)).toBeUndefined();
    },
  );
});

describe("hostLines over HTTP/2", () => {
  it("reads :authority as Host, and accepts both only when they are equal", async () => {
    const server = createServer((req, res) => res.end(JSON.stringify(hostLines(req as unknown as Request))));
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const client = connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    const ask = async (headers: Record<string, string>): Promise<unknown> => {
      const stream = client.request({ ":path": "/", ...headers });
      let text = "";
      for await (const chunk of stream) text += String(chunk);
      return JSON.parse(text);
    };
    expect(await ask({ ":authority": "a.example" })).toEqual(["a.example"]);
    expect(await ask({ ":authority": "a.example", host: "a.example" })).toEqual(["a.example"]);
    expect(await ask({ ":authority": "a.example", host: "b.example" })).toEqual(["a.example", "b.example"]);
    client.close();
    await new Promise((resolve) => server.close(resolve));
  });
});
