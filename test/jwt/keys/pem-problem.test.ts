import { execFileSync } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { devNull } from "node:os";
import { describe, expect, it } from "vitest";
import { JwtManager, SettingsError, type SettingsIssue } from "portcullis";

const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 });
const ec = generateKeyPairSync("ec", { namedCurve: "P-256" });
const pem = rsa.privateKey.export({ type: "pkcs8", format: "pem" }).toString();
const publicPem = rsa.publicKey.export({ type: "spki", format: "pem" }).toString();
const certificate = execFileSync(
  "openssl",
  ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", devNull, "-subj", "/CN=a", "-days", "1"],
  { stdio: ["ignore", "pipe", "ignore"] },
).toString();
const encrypted = { cipher: "aes-256-cbc", passphrase: "correct horse" } as const;

function issueOf(settings: ConstructorParameters<typeof JwtManager>[0]): SettingsIssue | undefined {
  try {
    void new JwtManager(settings).close();
    return undefined;
  } catch (error) {
    if (error instanceof SettingsError) return error.issues[0];
    throw error;
  }
}

describe("a private key given as text", () => {
  it.each([
    ["PKCS #8", "RS256", pem],
    ["PKCS #1", "RS256", rsa.privateKey.export({ type: "pkcs1", format: "pem" }).toString()],
    ["SEC 1", "ES256", ec.privateKey.export({ type: "sec1", format: "pem" }).toString()],
    ["PKCS #8 of an elliptic curve", "ES256", ec.privateKey.export({ type: "pkcs8", format: "pem" }).toString()],
    ["with Windows line breaks", "RS256", pem.replaceAll("\n", "\r\n")],
    ["with blank lines around it", "RS256", `\n\n${pem}\n`],
    ["whose \\n were put back", "RS256", pem.replaceAll("\n", "\\n").replaceAll("\\n", "\n")],
    ["whose base64 was decoded", "RS256", Buffer.from(Buffer.from(pem).toString("base64"), "base64").toString()],
  ] as const)("is accepted: %s", (_name, algorithm, privateKey) => {
    expect(issueOf({ algorithm, privateKey })).toBeUndefined();
  });

  it.each<[string, string, RegExp, RegExp]>([
    ["\\n written out", pem.replaceAll("\n", "\\n"), /line breaks.*escaped/, /replaceAll\("\\\\n", "\\n"\)/],
    ["spaces for line breaks", pem.trim().replaceAll("\n", " "), /line breaks.*missing/, /base64/],
    ["no line breaks", pem.replaceAll("\n", ""), /line breaks.*missing/, /base64/],
    ["quotes", JSON.stringify(pem), /quotes/, /Remove the quotes/],
    ["single quotes and real line breaks", `'${pem}'`, /quotes/, /Remove the quotes/],
    ["the base64 of a PEM", Buffer.from(pem).toString("base64"), /PEM encoded as base64/, /Buffer\.from/],
    [
      "no lines of BEGIN and END",
      pem.split("\n").slice(1, -2).join("\n"),
      /BEGIN line is missing/,
      /PKCS #8.*PKCS #1.*SEC 1/,
    ],
    ["a public key", publicPem, /public key, but a private key is required/, /PKCS #8/],
    [
      "a public key with \\n written out",
      publicPem.replaceAll("\n", "\\n"),
      /public key, but a private key is required/,
      /PKCS #8/,
    ],
    ["a certificate", certificate, /certificate, but a private key is required/, /PKCS #8/],
    [
      "an encrypted key",
      rsa.privateKey.export({ type: "pkcs8", format: "pem", ...encrypted }).toString(),
      /encrypted/,
      /openssl pkey.*passphrase/,
    ],
    [
      "an encrypted key of the old form",
      rsa.privateKey.export({ type: "pkcs1", format: "pem", ...encrypted }).toString(),
      /encrypted/,
      /openssl pkey/,
    ],
    [
      "a key of OpenSSH",
      "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaA==\n-----END OPENSSH PRIVATE KEY-----\n",
      /OpenSSH/,
      /ssh-keygen/,
    ],
    ["a text that was cut", pem.slice(0, 200), /text is truncated/, /PKCS #8/],
    [
      "another text in between",
      "-----BEGIN PRIVATE KEY-----\nhello\n-----END PRIVATE KEY-----",
      /cannot be read as a private key/,
      /PKCS #8/,
    ],
    ["nothing", " ", /empty/, /PKCS #8/],
    ["the path of a file", "/etc/keys/private.pem", /BEGIN line is missing/, /PKCS #8/],
  ])("is refused with a remedy: %s", (_name, privateKey, message, remedy) => {
    const issue = issueOf({ algorithm: "RS256", privateKey });
    expect(issue).toMatchObject({
      path: "privateKey",
      message: expect.stringMatching(message) as string,
      remedy: expect.stringMatching(remedy) as string,
    });
    expect(JSON.stringify(issue)).not.toContain(pem.split("\n")[2]?.slice(0, 16));
  });
});

describe("a public key given as text", () => {
  const keysWith = (publicKey: string): SettingsIssue | undefined =>
    issueOf({
      algorithm: "RS256",
      keys: [{ privateKey: generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey }, { publicKey }],
    });

  it.each([
    ["SPKI", publicPem],
    ["PKCS #1", rsa.publicKey.export({ type: "pkcs1", format: "pem" }).toString()],
    ["a certificate", certificate],
  ])("is accepted: %s", (_name, text) => {
    expect(keysWith(text)).toBeUndefined();
  });

  it.each<[string, string, RegExp, RegExp]>([
    ["\\n written out", publicPem.replaceAll("\n", "\\n"), /line breaks.*escaped/, /replaceAll/],
    ["a private key", pem, /private key, but a public key is required/, /public key/],
    [
      "a private key with spaces for line breaks",
      pem.replaceAll("\n", " "),
      /private key, but a public key is required/,
      /SPKI/,
    ],
    ["the base64 of a PEM", Buffer.from(publicPem).toString("base64"), /PEM encoded as base64/, /Buffer\.from/],
  ])("is refused with a remedy: %s", (_name, text, message, remedy) => {
    expect(keysWith(text)).toMatchObject({
      path: "keys[1].publicKey",
      message: expect.stringMatching(message) as string,
      remedy: expect.stringMatching(remedy) as string,
    });
  });
});
