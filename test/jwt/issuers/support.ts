import { createPublicKey, generateKeyPairSync, type JsonWebKey, type KeyObject, sign as signBytes } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { SignJWT } from "jose";
import type { SecurityEvent } from "../../../src/core/events.js";
import { createRuntime } from "../../../src/core/runtime.js";
import { JwtManager } from "../../../src/jwt/manager.js";
import type { JwtSettings } from "../../../src/jwt/settings.js";
import { MemoryTokenStore } from "../../../src/stores/memory/token-store.js";
import { ManualClock } from "../../support/manual-clock.js";
import { ROOT, START } from "../support.js";

export const AUDIENCE = "https://api.example.com";

/** A key of an issuer, with the fields by which a verifier finds it. */
export interface TestKey {
  readonly kid: string | undefined;
  readonly alg: string;
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
}

export function testKey(alg: string, kid?: string): TestKey {
  const pair = ((): { privateKey: KeyObject; publicKey: KeyObject } => {
    if (alg === "EdDSA") return generateKeyPairSync("ed25519");
    if (!alg.startsWith("ES")) return generateKeyPairSync("rsa", { modulusLength: 2048 });
    return generateKeyPairSync("ec", { namedCurve: { ES256: "P-256", ES384: "P-384", ES512: "P-521" }[alg] ?? "" });
  })();
  return { kid, alg, ...pair };
}

export function jwkOf({ kid, alg, publicKey }: TestKey, more: object = {}): JsonWebKey {
  return {
    ...createPublicKey(publicKey.export({ format: "pem", type: "spki" })).export({ format: "jwk" }),
    kid,
    alg,
    use: "sig",
    ...more,
  };
}

type Answer = (req: IncomingMessage, res: ServerResponse) => void;

/** An issuer on loopback: its document, its key set, and how often each was asked for. */
export class TestIssuer {
  readonly server: Server;
  keys: TestKey[] = [];
  /** In place of the key set. */
  answer: Answer | undefined;
  /** In place of the document at `/.well-known/openid-configuration`. */
  document: Answer | undefined;
  readonly asked: string[] = [];

  private constructor(server: Server) {
    this.server = server;
  }

  static async start(...keys: TestKey[]): Promise<TestIssuer> {
    const server = createServer();
    const issuer = new TestIssuer(server);
    issuer.keys = keys;
    server.on("request", (req, res) => issuer.#serve(req, res));
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return issuer;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  get jwksUri(): string {
    return `${this.url}/jwks`;
  }

  /** How often the key set was asked for. */
  get fetches(): number {
    return this.asked.filter((path) => path === "/jwks").length;
  }

  #serve(req: IncomingMessage, res: ServerResponse): void {
    this.asked.push(req.url ?? "");
    if (req.url === "/jwks") {
      if (this.answer !== undefined) return this.answer(req, res);
      return json(res, { keys: this.keys.map((key) => jwkOf(key)) });
    }
    if (req.url === "/.well-known/openid-configuration") {
      if (this.document !== undefined) return this.document(req, res);
      return json(res, { issuer: this.url, jwks_uri: this.jwksUri });
    }
    res.writeHead(404).end();
  }

  async close(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }
}

export function json(res: ServerResponse, body: unknown): void {
  res.writeHead(200, { "Content-Type": "application/json" }).end(JSON.stringify(body));
}

/** Good claims of a foreign token, to be changed in one place; `undefined` leaves one out. */
export function foreignClaims(
  iss: string,
  changes: Record<string, unknown> = {},
  now = START,
): Record<string, unknown> {
  const iat = Math.floor(now / 1000);
  return { iss, sub: "ada", aud: AUDIENCE, iat, exp: iat + 3600, scope: "orders:read", ...changes };
}

/** A token as an issuer writes it, by jose. */
export function foreignToken(key: TestKey, claims: Record<string, unknown>, header: object = {}): Promise<string> {
  return new SignJWT(claims).setProtectedHeader({ alg: key.alg, kid: key.kid, ...header }).sign(key.privateKey);
}

/** A token of raw texts, for what no library would write. ES256, RS256 and EdDSA. */
export function rawToken(key: TestKey, header: unknown, payload: unknown): string {
  const part = (value: unknown): string =>
    Buffer.from(typeof value === "string" ? value : JSON.stringify(value)).toString("base64url");
  const input = `${part(header)}.${part(payload)}`;
  const signature =
    key.alg === "EdDSA"
      ? signBytes(null, Buffer.from(input), key.privateKey)
      : signBytes("sha256", Buffer.from(input), { key: key.privateKey, dsaEncoding: "ieee-p1363" });
  return `${input}.${signature.toString("base64url")}`;
}

export interface ForeignBench {
  readonly clock: ManualClock;
  readonly events: SecurityEvent[];
  readonly manager: JwtManager;
  readonly store: MemoryTokenStore;
}

/** A manager on a clock that moves only when told to; `debug` allows the issuers above. */
export function foreignBench(settings: JwtSettings, own = true): ForeignBench {
  const clock = new ManualClock(START);
  const runtime = createRuntime({ clock, debug: true });
  const events: SecurityEvent[] = [];
  runtime.events.on("*", (event) => events.push(event));
  const store = new MemoryTokenStore({ clock });
  const manager = new JwtManager(settings, { runtime, store, ...(own ? { secretKey: [ROOT] } : {}) });
  return { clock, events, manager, store };
}
