import { createHmac, generateKeyPairSync, type KeyObject, sign } from "node:crypto";

type Fields = Record<string, unknown>;

const encode = (value: string | Buffer | object): string =>
  (typeof value === "string" || Buffer.isBuffer(value)
    ? Buffer.from(value)
    : Buffer.from(JSON.stringify(value))
  ).toString("base64url");

/**
 * Makes access tokens with the service's own key, so that each forgery differs from a good token in the one thing it is
 * about: with nothing changed, what it signs is taken.
 */
export class Forger {
  readonly header: Fields;
  readonly claims: Fields;

  /** @param genuine a token of the service's, whose header and claims are the starting point */
  constructor(
    readonly key: { readonly publicKey: KeyObject; readonly privateKey: KeyObject },
    readonly genuine: string,
  ) {
    const [header = "", payload = ""] = genuine.split(".");
    this.header = JSON.parse(Buffer.from(header, "base64url").toString()) as Fields;
    this.claims = JSON.parse(Buffer.from(payload, "base64url").toString()) as Fields;
  }

  get signature(): string {
    return this.genuine.split(".")[2] ?? "";
  }

  /** Header and payload with fields changed (`undefined` leaves one out), and no signature yet. */
  input(header: Fields = {}, claims: Fields | string = {}): string {
    const payload = typeof claims === "string" ? claims : { ...this.claims, ...claims };
    return `${encode({ ...this.header, ...header })}.${encode(payload)}`;
  }

  /** Signed as the service signs: the signature is right, whatever the rest is. */
  sign(
    header: Fields = {},
    claims: Fields | string = {},
    encoding: "ieee-p1363" | "der" = "ieee-p1363",
    hash = "sha256",
  ): string {
    const input = this.input(header, claims);
    return `${input}.${sign(hash, Buffer.from(input), { key: this.key.privateKey, dsaEncoding: encoding }).toString("base64url")}`;
  }

  /** Signed with a key of the attacker's, which the header offers in the way `offer` says. Whoever takes it from there is convinced. */
  signAsStranger(offer: (jwk: object) => Fields): string {
    const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const input = this.input(offer(publicKey.export({ format: "jwk" })), { sub: "root" });
    return `${input}.${sign("sha256", Buffer.from(input), { key: privateKey, dsaEncoding: "ieee-p1363" }).toString("base64url")}`;
  }

  /** Signed by HMAC with a secret the attacker knows. */
  mac(secret: string | Buffer, header: Fields = {}): string {
    const input = this.input({ alg: "HS256", ...header });
    return `${input}.${createHmac("sha256", secret).update(input).digest("base64url")}`;
  }

  /** The public key, which anybody may have. */
  publicKeyAs(format: "pem" | "der" | "jwk"): string | Buffer {
    if (format === "jwk") return JSON.stringify(this.key.publicKey.export({ format: "jwk" }));
    return format === "pem"
      ? this.key.publicKey.export({ format: "pem", type: "spki" })
      : this.key.publicKey.export({ format: "der", type: "spki" });
  }
}
