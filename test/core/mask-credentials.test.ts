import { createHmac } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ApiKeyService, applySecurity, type SecurityEvent } from "portcullis";
import { generateKey } from "../../src/api-key/keys/format.js";
import { MASK, maskCredentials, maskKeysWith } from "../../src/core/mask-credentials.js";
import { formatRefreshToken, newRefreshToken } from "../../src/jwt/refresh/refresh-secrets.js";
import { EXPRESS } from "../support/express-versions.js";
import { serve } from "../support/serve.js";

const SECRET = "k3Vt9sQfYb2LxWn8RzGj5HdPm7CuTa4E";
maskKeysWith("acme-prod_");

const base64url = (min: number, max: number) =>
  fc.uint8Array({ minLength: min, maxLength: max }).map((bytes) => Buffer.from(bytes).toString("base64url"));
const json = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");

/** A credential, and what of it nobody may read. */
const credential = fc.oneof(
  fc
    .record({ prefix: fc.constantFrom("mcp_", "acme-prod_"), length: fc.integer({ min: 19, max: 128 }) })
    .map(({ prefix, length }) => {
      const { key } = generateKey(prefix, length);
      return { text: key, secret: key.slice(prefix.length + 12) };
    }),
  fc
    .tuple(fc.dictionary(fc.stringMatching(/^[a-z]{1,9}$/), fc.string()), fc.object(), base64url(1, 300))
    .map(([header, payload, signature]) => ({
      text: `${json({ alg: "HS256", ...header })}.${json(payload)}.${signature}`,
      secret: signature,
    })),
  fc.constant(0).map(() => {
    const token = newRefreshToken();
    return { text: formatRefreshToken(token), secret: token.secret };
  }),
  fc.tuple(base64url(24, 24), fc.boolean()).map(([id, written]) => {
    const value = `s:${id}.${createHmac("sha256", SECRET).update(id).digest("base64").replace(/=+$/, "")}`;
    return { text: written ? encodeURIComponent(value) : value, secret: id };
  }),
);
/** Around it: what a path may hold, percent signs, decoys and other credentials' beginnings too. */
const around = fc
  .array(
    fc.oneof(
      fc.constantFrom("/", "eyJ", "eyJ.", "mcp_", "rt_", "s:", "%", "%2", "%41", "..", "-", "a", "Z9"),
      fc.string({ maxLength: 5 }),
    ),
    { maxLength: 8 },
  )
  .map((parts) => parts.join(""));

const hex = (code: number, digits = 2) => code.toString(16).padStart(digits, "0");

/** The ways to write one character in a URL that some reader takes back; each may be percent-encoded again. */
const SPELLINGS: readonly ((code: number) => string)[] = [
  (code) => String.fromCharCode(code),
  (code) => `%${hex(code)}`,
  (code) => `%${hex(code).toUpperCase()}`,
  (code) => `%u${hex(code, 4)}`,
  (code) => `%${hex(0xc0 | (code >> 6))}%${hex(0x80 | (code & 63))}`,
  (code) => `%e0%${hex(0x80 | (code >> 6))}%${hex(0x80 | (code & 63))}`,
  (code) => `%F0%80%${hex(0x80 | (code >> 6))}%${hex(0x80 | (code & 63))}`,
  (code) => String.fromCharCode(0xc0 | (code >> 6), 0x80 | (code & 63)),
];
/** What may be put between two characters, and taken out again by a reader. */
const INSERTED = [
  "%00",
  "%0A",
  "%0d%0a",
  "%09",
  "%1b",
  "%7F",
  "%20",
  "%2E",
  "%2f",
  "%C2%85",
  "%E2%80%A8",
  "%c3%a9",
  "\x85",
];

const written = fc
  .record({
    spelling: fc.constantFrom(...SPELLINGS),
    inserted: fc.constantFrom("", "", "", ...INSERTED),
    times: fc.oneof({ weight: 5, arbitrary: fc.constant(0) }, fc.nat(6)),
  })
  .map(({ spelling, inserted, times }) => {
    const again = (text: string) =>
      Array.from({ length: times }).reduce<string>((now) => now.replaceAll("%", "%25"), text);
    return (char: string, index: number) => (index === 0 ? "" : again(inserted)) + again(spelling(char.charCodeAt(0)));
  });
const asItIs = fc.constant((char: string) => char);

/** All that a reader can make of a text: decoded any number of times, with what is no part of a credential taken out. */
function readings(text: string): string[] {
  const all: string[] = [];
  for (let now = text, before = ""; now !== before;) {
    all.push(now, now.replace(/[^\w.-]/g, ""), now.replace(/[^\w-]/g, ""));
    before = now;
    now = now
      .replace(/%u([0-9a-f]{4})|%([0-9a-f]{2})/gi, (_, wide: string, byte: string) =>
        String.fromCharCode(parseInt(wide ?? byte, 16)),
      )
      .replace(/[\xc0\xc1]([\x80-\xbf])|\xe0[\x80\x81]([\x80-\xbf])|\xf0\x80[\x80\x81]([\x80-\xbf])/g, (sequence) => {
        const [high, low] = [
          sequence.charCodeAt(sequence.length - 2) & 1,
          sequence.charCodeAt(sequence.length - 1) & 63,
        ];
        return String.fromCharCode(high * 64 + low);
      });
  }
  return all;
}

/** Pieces of a credential, and of it without its dots, as long as can be no accident. */
function pieces(text: string): string[] {
  return [text, text.replaceAll(".", "")].flatMap((whole) =>
    Array.from({ length: whole.length / 8 - 1 }, (_, index) => whole.slice(index * 8, index * 8 + 16)),
  );
}

/** Each character of the text written as it is or percent-encoded, as the numbers say. */
function encoded(text: string, which: readonly boolean[]): string {
  return [...text]
    .map((char, index) =>
      which[index % which.length] === true ? `%${char.charCodeAt(0).toString(16).toUpperCase()}` : char,
    )
    .join("");
}

describe("maskCredentials", () => {
  it("masks a credential completely, whatever stands around it", () => {
    fc.assert(
      fc.property(around, credential, around, (before, { text, secret }, after) => {
        const masked = maskCredentials(`/${before}/${text}/${after}`);
        expect(masked).toContain(MASK);
        if (secret.length > 8) expect(masked).not.toContain(secret);
        expect(masked).not.toContain(text);
      }),
      { numRuns: 1000 },
    );
  });

  it("masks a credential that is partly percent-encoded", () => {
    fc.assert(
      fc.property(credential, fc.array(fc.boolean(), { minLength: 1, maxLength: 9 }), ({ text, secret }, which) => {
        const masked = maskCredentials(`/a/${encoded(text, which)}/b`);
        expect(masked).toContain(MASK);
        if (secret.length > 8) expect(decodeURIComponent(masked)).not.toContain(secret);
      }),
      { numRuns: 300 },
    );
  });

  it("leaves no parts from which a reader could reassemble a credential", () => {
    fc.assert(
      fc.property(
        fc.constantFrom("", "/a/", "%", "%2", "%25", "%252", "%u00", "caf%C3%A9-"),
        credential.filter(({ text }) => !text.startsWith("s")),
        fc.array(fc.oneof({ weight: 4, arbitrary: asItIs }, written), { minLength: 1, maxLength: 80 }),
        fc.constantFrom("", "/b", "%", "%4", "%C1"),
        (before, { text }, ways, after) => {
          const path = `/${before}${[...text].map((char, index) => ways[index % ways.length]?.(char, index)).join("")}${after}`;
          const masked = maskCredentials(path);
          expect(masked).toContain(MASK);
          expect(readings(masked).filter((reading) => pieces(text).some((piece) => reading.includes(piece)))).toEqual(
            [],
          );
        },
      ),
      { numRuns: 1000 },
    );
  });

  it.each([
    ["a line feed in a key", (key: string) => `${key.slice(0, 20)}%0A${key.slice(20)}`],
    ["a NUL after the prefix", (key: string) => key.replace("_", "_%00")],
    ["a dot in a key", (key: string) => `${key.slice(0, 30)}%2E${key.slice(30)}`],
    ["a key encoded twice", (key: string) => `%256${key.slice(0, 1) === "m" ? "d" : "x"}${key.slice(1)}`],
    ["an overlong letter", (key: string) => `%C1%AD${key.slice(1)}`],
    ["a raw control of C1", (key: string) => `${key.slice(0, 9)}\x9b${key.slice(9)}`],
  ])("masks a whole key that is broken up by %s, and keeps the rest of the path", (_name, broken) => {
    const { key } = generateKey("mcp_", 32);
    expect(maskCredentials(`/caf%C3%A9/${broken(key)}/orders%2F7`)).toBe(`/caf%C3%A9/${MASK}/orders%2F7`);
  });

  it("masks a segment that is encoded more than three times, and no other", () => {
    expect(maskCredentials("/a/x%2525252541y/b%252525%34/c%252541")).toBe(`/a/${MASK}/b%252525%34/c%252541`);
  });

  it.each([
    "/",
    "/wiki/mcp_%20server",
    "/part_of%20the%20world/file%2Ename.tar.gz",
    "/%u0041/%C1%81/100%25/a%2520b",
    "/%E2%82%AC/\xe9",
    "/api-keys/0123456789AB/rotate",
    "/users/3f2c9a4e-7b1d-4c5a-9e8f-0a1b2c3d4e5f",
    "/mcp_server/tools/list",
    "/mcp_",
    "/files/report.final.v2.pdf",
    "/orders/eyJpZCI6MTIzfQ",
    "/orders/eyJpZCI6MTIzfQ.json",
    "/survey.min.js",
    "/art_direction/rt_short.x",
    "/caf%C3%A9/%41%2F%25",
    "/%",
    "/s:short.value",
    `/hash/${"0123456789abcdef".repeat(4)}`,
    "*",
  ])("does not change %s", (path) => {
    expect(maskCredentials(path)).toBe(path);
  });

  it("does not change paths of words and numbers", () => {
    const word = fc.stringMatching(/^[a-z0-9-]{1,40}$/).filter((text) => !text.includes("eyJ"));
    fc.assert(
      fc.property(
        fc.array(word, { maxLength: 10 }),
        (words) => void expect(maskCredentials(`/${words.join("/")}`)).toBe(`/${words.join("/")}`),
      ),
    );
  });

  it("takes linear time for every path", () => {
    const time = (text: string): number => {
      const best = Array.from({ length: 5 }, () => {
        const start = process.hrtime.bigint();
        maskCredentials(text);
        return Number(process.hrtime.bigint() - start);
      });
      return Math.min(...best);
    };
    for (const piece of [
      "eyJ",
      "eyJ.",
      ".eyJa",
      "mcp_",
      "mcp_0123456789",
      "rt_",
      "rt_aaaaaaaaaaaaaaaaaaaaaa.",
      "s:",
      `s:${"a".repeat(32)}.`,
      "%5F",
      "%",
      "%25",
      "%252525252525",
      "%41",
      "%0A",
      "%C1",
      "%C1%81",
      "\xc1",
      "%u0041",
      "eyJ%2E",
      "mcp_%0A",
      "mcp_0%2E",
      "rt_%00",
      "rt_aaaaaaaaaaaaaaaaaaaaaa%2E",
      "/%2525252525",
      "a",
      ".",
    ]) {
      const [short, long] = [8_000, 128_000].map((length) => time(piece.repeat(Math.ceil(length / piece.length))));
      // Sixteen times as long: a quadratic search would take 256 times as long. Short times are noise.
      expect([piece, (long ?? 0) / Math.max(short ?? 0, 50_000) < 80]).toEqual([piece, true]);
    }
  });
});

describe.each(EXPRESS)("events on $name", ({ express }) => {
  it("contain no credential from the path, even where the path is truncated", async () => {
    const app = express();
    const security = applySecurity(app, {
      secretKey: SECRET,
      trustedHosts: ["127.0.0.1"],
      debug: true,
      session: {},
      apiKeys: { hash: "hmac-sha256", prefix: "shop_" },
      jwt: {},
      rateLimit: { limit: 100_000 },
    });
    const heard: SecurityEvent[] = [];
    security.events.on("*", (event) => heard.push(event));
    security.events.on("portcullis_credential_accepted", (event) => heard.push(event));
    app.post("/log-in", async (req, res) => {
      await security.logIn(req, { id: "ada" });
      res.end();
    });
    app.use(security.requireAuth(), (_req, res) => void res.end());
    const server = await serve(app);
    const { key } = await security.apiKeys.create({ ownerId: "ada", name: "k" });
    const { accessToken, refreshToken } = await security.jwt.issue("ada");
    const setCookie = (await server.send("/log-in", { method: "POST" })).headers["set-cookie"]?.[0] ?? "";
    const cookie = /=([^;]+)/.exec(setCookie)?.[1] ?? "";
    expect(cookie).toMatch(/^s%3A/);

    for (const text of [key, accessToken, refreshToken, cookie]) {
      heard.length = 0;
      for (const length of [1, 200, 240, 255, 256, 300]) {
        const path = `/${"x".repeat(length - 1)}/${text}`;
        expect((await server.send(path)).status).toBe(401);
        expect((await server.send(path, { headers: { authorization: `Bearer ${accessToken}` } })).status).toBe(200);
        expect((await server.send(`/?key=${text}`)).status).toBe(401);
        await server.raw(`GET http://127.0.0.1${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n`);
      }
      expect(heard.length).toBe(24);
      expect(heard[0]?.path).toBe(`//${MASK}`);
      const log = JSON.stringify(heard);
      // A part of it, as long as can be no accident, would be a piece cut off.
      for (let at = 0; at + 16 <= text.length; at += 1) expect(log.includes(text.slice(at, at + 16))).toBe(false);
      for (const { path } of heard) expect(path?.length).toBeLessThanOrEqual(256);
    }
    for (const text of [key, accessToken, refreshToken, cookie]) {
      heard.length = 0;
      for (const broken of ["%0A", "%00", "%2E", "%250A"]) {
        const path = `/a/${text.slice(0, 30)}${broken}%${hex(text.charCodeAt(30))}${text.slice(31)}`;
        expect((await server.send(path)).status).toBe(401);
        expect((await server.send(`/?key=${path}`)).status).toBe(401);
      }
      // A cookie that is broken up by a dot is another cookie.
      const known = heard.filter(({ path = "" }) => !(text === cookie && path.includes("%2E")));
      expect(
        known.flatMap(({ path = "" }) => readings(path)).filter((reading) => reading.includes(text.slice(-16))),
      ).toEqual([]);
    }
    await server.close();
    await security.close();
  });
});

it("an API key service adds its prefix to those that are masked", async () => {
  const service = new ApiKeyService({ prefix: "till_", hash: "hmac-sha256", secret: SECRET });
  const { key } = await service.create({ ownerId: "ada", name: "k" });
  expect(maskCredentials(`/till/${key}`)).toBe(`/till/${MASK}`);
  await service.close();
});
