import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { ROOT } from "../support/code-blocks.js";

/** The source, without comments. */
const names = (readdirSync(join(ROOT, "src"), { recursive: true }) as string[]).filter((name) => name.endsWith(".ts")).sort();
const files = names.map((name) => ({
  file: `src/${name.replaceAll("\\", "/")}`,
  code: readFileSync(join(ROOT, "src", name), "utf8").replace(/\/\*[\s\S]*?\*\//g, "").replace(/^\s*\/\/.*$/gm, ""),
}));

/** What stands in the first group of `pattern`, with the files it stands in. */
function found(pattern: RegExp): Record<string, string[]> {
  const where: Record<string, string[]> = {};
  for (const { file, code } of files) for (const [, what = ""] of code.matchAll(pattern)) where[what] = [...new Set([...(where[what] ?? []), file])];
  return where;
}

/** ASVS 5.0 V11: what the source does not do, no request can make it do. */
describe("cryptography in the source", () => {
  it("reads all of it", () => {
    expect(files.length).toBeGreaterThan(150);
  });

  it("is node:crypto, argon2 and jsonwebtoken, and of node:crypto only these", () => {
    const packages = found(/from "((?:node:)?(?:crypto|webcrypto)|[^"]*(?:crypt|hash|cipher|argon|jwt|jose|jsonweb|nacl|sodium|tweet|uuid|nanoid)[^"./]*)"/g);
    expect(Object.keys(packages).sort()).toEqual(["argon2", "jsonwebtoken", "node:crypto"]);
    const imported = new Set(
      files.flatMap(({ code }) => [...code.matchAll(/import (?:type )?\{([^}]*)\} from "node:crypto"/g)].flatMap(([, list = ""]) => list.split(",").map((name) => name.replace(/^\s*type /, "").trim()))),
    );
    expect([...imported].sort()).toEqual([
      ...["KeyObject", "createCipheriv", "createDecipheriv", "createHash", "createHmac", "createPrivateKey", "createPublicKey", "createSecretKey"],
      ...["hkdfSync", "randomBytes", "randomInt", "timingSafeEqual"],
    ]);
  });

  it("seals by AES-256-GCM alone: no other cipher, no other mode, no encryption with a public key", () => {
    expect(Object.keys(found(/create(?:De)?[cC]ipheriv\(\s*([^,]+),/g))).toEqual(['"aes-256-gcm"']);
    expect(found(/\b(publicEncrypt|privateDecrypt|createCipher|createDecipher)\(/g)).toEqual({});
  });

  it("hashes by SHA-256; SHA-1 names the scripts of Redis, as EVALSHA wants, and nothing is hashed by MD5", () => {
    expect(Object.keys(found(/create(?:Hash|Hmac)\(\s*([^,)]+)[,)]/g)).sort()).toEqual(['"sha1"', '"sha256"']);
    expect(Object.keys(found(/hkdfSync\(\s*([^,]+),/g))).toEqual(['"sha256"']);
    expect(found(/createH(?:ash|mac)\(\s*"(sha1)"/g)).toEqual({ sha1: ["src/stores/redis/connection.ts"] });
    expect(found(/\b(md5|ripemd|rc4|des-ede3)\b/gi)).toEqual({});
  });

  it("leaves to Math.random how long to wait before the next try, and nothing else", () => {
    expect(found(/(Math\.random)/g)).toEqual({ "Math.random": ["src/stores/redis/retry-delay.ts", "src/stores/sql/bounded.ts", "src/stores/sql/transaction.ts"] });
  });

  it("asks nobody over HTTP, so no redirect can lead it elsewhere", () => {
    expect(found(/(?<![-\w.])(fetch|https?\.(?:get|request)|axios|XMLHttpRequest)\s*\(/g)).toEqual({});
    expect(Object.keys(found(/import (?:type )?\{([^}]*)\} from "node:https?"/g)).flatMap((list) => list.split(",").map((name) => name.replace("type ", "").trim())).filter((name) => ["get", "request", "Agent"].includes(name))).toEqual([]);
  });
});
