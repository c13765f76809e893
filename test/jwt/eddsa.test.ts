import { createPublicKey, generateKeyPairSync } from "node:crypto";
import { createLocalJWKSet, importJWK, jwtVerify } from "jose";
import { afterEach, describe, expect, it } from "vitest";
import { SettingsError } from "../../src/settings/errors.js";
import { JwtManager } from "../../src/jwt/manager.js";
import { bench, codeOf, KEYS, pem } from "./support.js";

const ends: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0)) await end();
});

describe("our own tokens with EdDSA", () => {
  it("are verified by jose with our key set, and by us, first seen and remembered", async () => {
    const { manager, clock } = bench({ algorithm: "EdDSA", privateKey: pem(KEYS.ed25519.privateKey) });
    ends.push(() => manager.close());
    const { accessToken, refreshToken } = await manager.issue("ada", { scopes: ["read"] });
    for (let time = 0; time < 2; time += 1)
      expect(await manager.verifyAccessToken(accessToken)).toMatchObject({ sub: "ada", scope: "read" });
    const set = await manager.jwks();
    expect(set.keys).toEqual([
      { kty: "OKP", crv: "Ed25519", x: expect.any(String), kid: expect.any(String), alg: "EdDSA", use: "sig" },
    ]);
    const { protectedHeader } = await jwtVerify(accessToken, createLocalJWKSet({ keys: [...set.keys] }), {
      algorithms: ["EdDSA"],
      issuer: "portcullis",
      audience: "portcullis",
      currentDate: new Date(clock.now()),
    });
    expect(protectedHeader).toMatchObject({ alg: "EdDSA", typ: "at+jwt", kid: set.keys[0]?.kid });
    const next = await manager.refresh(refreshToken);
    expect(await codeOf(manager.verifyAccessToken(next.accessToken))).toBe("fulfilled");
    await manager.revokeAccessToken(accessToken);
    expect(await codeOf(manager.verifyAccessToken(accessToken))).toBe("revoked");
  });

  it("have the thumbprint of RFC 8037 appendix A.3 as kid", async () => {
    const x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    const d = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";
    const { createPrivateKey } = await import("node:crypto");
    const privateKey = createPrivateKey({ key: { kty: "OKP", crv: "Ed25519", x, d }, format: "jwk" });
    const manager = new JwtManager({ algorithm: "EdDSA", privateKey });
    ends.push(() => manager.close());
    expect((await manager.jwks()).keys).toMatchObject([{ x, kid: "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k" }]);
    expect(await importJWK({ kty: "OKP", crv: "Ed25519", x }, "EdDSA")).toBeDefined();
  });

  it("rotate: the first key signs, all verify, one that is not listed does not", async () => {
    const old = generateKeyPairSync("ed25519");
    const before = new JwtManager({ algorithm: "EdDSA", privateKey: old.privateKey });
    const after = new JwtManager({
      algorithm: "EdDSA",
      keys: [{ privateKey: KEYS.ed25519.privateKey }, { publicKey: pem(createPublicKey(old.privateKey)) }],
    });
    ends.push(
      () => before.close(),
      () => after.close(),
    );
    const token = await before.signAccessToken("ada");
    expect(await codeOf(after.verifyAccessToken(token))).toBe("fulfilled");
    expect(await codeOf(before.verifyAccessToken(await after.signAccessToken("ada")))).toBe("unknown-key");
  });

  it("with any changed character are refused", async () => {
    const { manager } = bench({ algorithm: "EdDSA", privateKey: KEYS.ed25519.privateKey });
    ends.push(() => manager.close());
    const token = await manager.signAccessToken("ada");
    for (let at = 0; at < token.length; at += 7) {
      const changed = token.slice(0, at) + (token[at] === "A" ? "B" : "A") + token.slice(at + 1);
      expect(await codeOf(manager.verifyAccessToken(changed))).not.toBe("fulfilled");
    }
  });

  it.each([
    { name: "an EC key", key: KEYS.ec("P-256").privateKey },
    { name: "an RSA key", key: KEYS.rsa.privateKey },
    { name: "an Ed448 key", key: generateKeyPairSync("ed448").privateKey },
    { name: "an X25519 key", key: generateKeyPairSync("x25519").privateKey },
  ])("do not start with $name", ({ key }) => {
    expect(() => new JwtManager({ algorithm: "EdDSA", privateKey: key })).toThrow(SettingsError);
    expect(() => new JwtManager({ algorithm: "EdDSA" })).toThrow("EdDSA needs a private key");
    expect(() => new JwtManager({ algorithm: "ES256", privateKey: KEYS.ed25519.privateKey })).toThrow(SettingsError);
  });
});
