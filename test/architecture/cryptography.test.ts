import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { ROOT } from "../support/code-blocks.js";

/** The source, without comments. */
const names = (readdirSync(join(ROOT, "src"), { recursive: true }) as string[])
  .filter((name) => name.endsWith(".ts"))
  .sort();
const files = names.map((name) => ({
  file: `src/${name.replaceAll("\\", "/")}`,
  code: readFileSync(join(ROOT, "src", name), "utf8")
    .replace(/\/\*[\s\S]*?\*\//g, "")
    .replace(/^\s*\/\/.*$/gm, ""),
}));

/** What stands in the first group of `pattern`, with the files it stands in. */
function found(pattern: RegExp): Record<string, string[]> {
  const where: Record<string, string[]> = {};
  for (const { file, code } of files)
    for (const [, what = ""] of code.matchAll(pattern)) where[what] = [...new Set([...(where[what] ?? []), file])];
  return where;
}

/** ASVS 5.0 V11: what the source does not do, no request can make it do. */
describe("cryptography in the source", () => {
  it("is read completely by this test", () => {
    expect(files.length).toBeGreaterThan(150);
  });

  it("comes from argon2, jsonwebtoken, jose and these functions of node:crypto", () => {
    const packages = found(
      /from "((?:node:)?(?:crypto|webcrypto)|[^"]*(?:crypt|hash|cipher|argon|jwt|jose|jsonweb|nacl|sodium|tweet|uuid|nanoid)[^"./]*)"/g,
    );
    expect(Object.keys(packages).sort()).toEqual(["argon2", "jose", "jsonwebtoken", "node:crypto"]);
    const imported = new Set(
      files.flatMap(({ code }) =>
        [...code.matchAll(/import (?:type )?\{([^}]*)\} from "node:crypto"/g)].flatMap(([, list = ""]) =>
          list
            .split(",")
            .map((name) => name.replace(/^\s*type /, "").trim())
            .filter((name) => name !== ""),
        ),
      ),
    );
    expect([...imported].sort()).toEqual([
      ...[
        "KeyObject",
        "createCipheriv",
        "createDecipheriv",
        "createHash",
        "createHmac",
        "createPrivateKey",
        "createPublicKey",
        "createSecretKey",
      ],
      ...["hkdfSync", "randomBytes", "randomInt", "timingSafeEqual"],
    ]);
    // What an `import *` brings in, taken out of it or named on it.
    expect(found(/import \* as (\w+) from "node:crypto"/g)).toEqual({ crypto: ["src/core/cache-key.ts"] });
    const named = Object.entries(found(/\bcrypto\.(\w+)/g)).filter(([, where]) =>
      where.includes("src/core/cache-key.ts"),
    );
    expect(named.map(([name]) => name).sort()).toEqual(["createHash", "randomBytes"]);
    expect(found(/\{ ([^}]*) \} = crypto\b/g)).toEqual({ hash: ["src/core/cache-key.ts"] });
  });

  it("encrypts with AES-256-GCM alone: no other cipher, no other mode, no public-key encryption", () => {
    expect(Object.keys(found(/create(?:De)?[cC]ipheriv\(\s*([^,]+),/g))).toEqual(['"aes-256-gcm"']);
    expect(found(/\b(publicEncrypt|privateDecrypt|createCipher|createDecipher)\(/g)).toEqual({});
  });

  it("hashes with SHA-256; SHA-1 where RFC 6238, Have I Been Pwned or EVALSHA prescribes it, and MD5 is not used", () => {
    expect(found(/create(?:Hash|Hmac)\(\s*([^,)"]+)[,)]/g)).toEqual({
      // SHA-1, 256 or 512 of RFC 6238: HMAC-SHA-1 is sound, and authenticator apps know no other for certain.
      hash: ["src/accounts/factors/one-time-code.ts"],
    });
    expect(Object.keys(found(/create(?:Hash|Hmac)\(\s*("[^"]+")[,)]/g)).sort()).toEqual(['"sha1"', '"sha256"']);
    expect(Object.keys(found(/\b(?:hkdfSync|hash)\(\s*("[^"]+"),/g))).toEqual(['"sha256"']);
    expect(found(/createH(?:ash|mac)\(\s*"(sha1)"/g)).toEqual({
      sha1: ["src/accounts/passwords/breached.ts", "src/stores/redis/connection.ts"],
    });
    expect(found(/\b(md5|ripemd|rc4|des-ede3)\b/gi)).toEqual({});
  });

  it("truncates no digest that proves something, and truncates to 132 bits two that only name something private", () => {
    expect(found(/\.digest\([^)]*\)\s*\.(slice\([^)]*\)|subarray\([^)]*\)|substr\w*\([^)]*\))/g)).toEqual({
      // Names of a secret in `kid` and of a pepper in a digest: two of the same name cost one more comparison.
      "slice(0, 16)": ["src/jwt/keys/key-ids.ts"],
      "slice(0, 8)": ["src/accounts/passwords/hasher.ts", "src/api-key/keys/hashing.ts"],
      // The id of a session taken over from express-session: 192 bits, as every id has.
      "slice(0, 32)": ["src/session/former-sessions.ts"],
      "slice(0, 22)": ["src/session/session-cookie.ts", "src/stores/redis/sessions/value.ts"],
    });
  });

  it("derives keys by HKDF, from secrets the settings have weighed and from tokens it drew itself; from no password", () => {
    expect(found(/hkdfSync\("sha256", ([^,]+),/g)).toEqual({
      secret: ["src/jwt/refresh/refresh-secrets.ts"],
      "secret.reveal()": ["src/jwt/keys/key-ring.ts", "src/settings/secrets.ts"],
    });
    expect(found(/\b(pbkdf2\w*|scrypt\w*)\b/gi)).toEqual({});
    // Compares passwords that another system has hashed, until the next log-in; makes no hash.
    expect(found(/\bbcrypt\.(\w+)(?=\()/g)).toEqual({ compare: ["src/accounts/passwords/hasher.ts"] });
  });

  it("takes unguessable values from randomBytes, at least 128 bits each, of recovery codes 120", () => {
    expect(found(/\brandomBytes\((?!\$|\d+\)\.toString\('base64url'\))([^)]+)\)/g)).toEqual({
      // 128 bits and more: ids of tokens and families, secrets of refresh tokens, nonces of 18 bytes each, the key of a process, and base62 characters without bias.
      "16": [
        "src/accounts/passwords/hasher.ts",
        "src/accounts/secrets.ts",
        "src/jwt/issuing.ts",
        "src/jwt/refresh/refresh-secrets.ts",
        "src/stores/sql/families.ts",
        "src/stores/sql/owner-marks.ts",
      ],
      "18": ["src/jwt/access/access-tokens.ts"],
      "24": ["src/session/express-session.ts"],
      "32": [
        "src/accounts/passwords/hasher.ts",
        "src/core/cache-key.ts",
        "src/jwt/refresh/refresh-secrets.ts",
        "src/testing/test-secret.ts",
      ],
      // 256 bits of a link or of a log-in that is not finished, 160 bits of an authenticator app (RFC 4226 section 4, R6).
      TOKEN_BYTES: ["src/accounts/secrets.ts"],
      SECRET_BYTES: ["src/accounts/factors/enrolment.ts"],
      // 120 bits of a recovery code: V6.5.2 asks for 112 where the hash is a fast one.
      CODE_BYTES: ["src/accounts/factors/recovery-codes.ts"],
      "NONCE_BYTES * NONCES_AT_ONCE": ["src/headers/response.ts"],
      "length + 16": ["src/api-key/keys/format.ts"],
      // Not secret: the nonce of AES-GCM, which goes with its seal, and the name of a process in Redis.
      "12": ["src/jwt/refresh/refresh-secrets.ts"],
      NONCE_BYTES: ["src/accounts/secrets.ts"],
      "9": ["src/stores/redis/changes/source.ts"],
    });
    // The seed of the hash that spreads clients over shared windows: it never leaves the process, and nothing is proved by it.
    expect(found(/\brandomInt\(([^)]+)\)/g)).toEqual({
      "2 ** 32 - 1": ["src/stores/memory/sliding-window/key-hash.ts"],
    });
    expect(
      found(/\b(randomUUID|randomFill\w*|getRandomValues|generateKeyPair\w*|generateKeySync|pseudoRandomBytes)\b/g),
    ).toEqual({});
  });

  it("uses Math.random only for the pause before the next try", () => {
    expect(found(/(Math\.random)/g)).toEqual({
      "Math.random": ["src/stores/redis/retry-delay.ts", "src/stores/sql/places.ts", "src/stores/sql/transaction.ts"],
    });
  });

  it("is listed in the table of SECURITY.md, file by file (ASVS 11.1.2)", () => {
    const table = /\n## Cryptography\n([^]*?)\n## /.exec(readFileSync(join(ROOT, "SECURITY.md"), "utf8"))?.[1] ?? "";
    const listed = new Set([...table.matchAll(/`(src\/[^`]+)`/g)].map(([, file = ""]) => file));
    const operations =
      /import (?:type )?\{[^}]*\b(?:createHash|createHmac|createCipheriv|createDecipheriv|hkdfSync|randomBytes|randomInt|timingSafeEqual)\b[^}]*\} from "node:crypto"|import \* as \w+ from "node:crypto"|import\("argon2"\)|import \w+ from "jsonwebtoken"|import \{[^}]*\} from "jose"/;
    const users = files.filter(({ code }) => operations.test(code)).map(({ file }) => file);
    expect(users.length).toBeGreaterThan(10);
    expect(users.filter((file) => !listed.has(file))).toEqual([]);
    expect([...listed].filter((file) => !files.some((known) => known.file === file))).toEqual([]);
    const labels = [
      ...new Set(
        files.flatMap(({ code }) =>
          [...code.matchAll(/\bderiveKey\(\w+, "([^"]+)"\)/g)].map(([, label = ""]) => label),
        ),
      ),
    ];
    expect(labels.filter((label) => !table.includes(`derived: ${label} `))).toEqual([]);
    expect(labels.length).toBeGreaterThan(3);
  });

  it("makes HTTP requests only for the keys of issuers and for leaked passwords, and follows no redirect", () => {
    expect(found(/(?<![-\w.#])(fetch|https?\.(?:get|request)|axios|XMLHttpRequest)\s*\(/g)).toEqual({});
    const lists = Object.entries(found(/import (?:type )?\{([^}]*)\} from "node:https?"/g));
    const requests = lists.filter(([list]) => /\b(?:get|request|Agent)\b/.test(list)).flatMap(([, where]) => where);
    expect([...new Set(requests)]).toEqual(["src/core/http/fetch-text.ts"]);
    // The get of node:http and node:https follows none, and nothing here reads where one leads.
    expect(found(/\.(location)\b/g)).toEqual({});
  });
});
