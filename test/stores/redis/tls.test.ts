import { readFileSync } from "node:fs";
import express from "express";
import { Redis } from "ioredis";
import { Redis as Redis5 } from "ioredis5";
import { createClient } from "redis";
import { createClient as createClient5 } from "redis5";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { applySecurity, SetupError, type SecuritySettings } from "portcullis";
import { startMember } from "../../fleet/members.js";
import { serve } from "../../support/serve.js";
import { freePort } from "../../support/servers/process.js";
import {
  type Certificates,
  makeCertificates,
  redisSays,
  type RunningServer,
  startRedis,
  uniqueName,
} from "../../support/servers.js";

const base: SecuritySettings = {
  debug: true,
  trustedHosts: ["127.0.0.1"],
  secretKey: "wJ8s7Yk2pQz4Nf6Vb1Xc3Mh5Lr9Tg0Ud",
  session: {},
  jwt: {},
};

let certificates: Certificates;
let server: RunningServer;
let tlsPort: number;
let url: string;

beforeAll(async () => {
  certificates = makeCertificates("IP:127.0.0.1");
  tlsPort = await freePort();
  const { ca, cert, key } = certificates;
  server = await startRedis({
    args: [
      "--tls-port",
      String(tlsPort),
      "--tls-cert-file",
      cert,
      "--tls-key-file",
      key,
      "--tls-ca-cert-file",
      ca,
      "--tls-auth-clients",
      "no",
    ],
  });
  url = `rediss://127.0.0.1:${tlsPort}`;
});
afterAll(async () => {
  await server.close();
  certificates.remove();
});

interface Client {
  connect?(): Promise<unknown>;
  disconnect?(): unknown;
  destroy?(): unknown;
  on(event: "error", listener: () => void): unknown;
}

/** As the README tells to: the app's own client, with the authority that signed the server's certificate. */
const CLIENTS: Record<string, (ca: string) => Client> = {
  "node-redis 6": (ca) => createClient({ url, socket: { tls: true, ca: readFileSync(ca) } }),
  "node-redis 5": (ca) => createClient5({ url, socket: { tls: true, ca: readFileSync(ca) } }),
  "ioredis 6": (ca) => new Redis(url, { lazyConnect: true, tls: { ca: readFileSync(ca) } }),
  "ioredis 5": (ca) => new Redis5(url, { lazyConnect: true, tls: { ca: readFileSync(ca) } }),
};

describe.each(Object.keys(CLIENTS))("Redis over TLS by a client of %s", (name) => {
  test("carries limits, sessions, revocations and their messages", async () => {
    const client = CLIENTS[name]?.(certificates.ca);
    if (client === undefined) throw new Error("no such client");
    client.on("error", () => undefined);
    await client.connect?.();
    const app = express();
    const prefix = `${uniqueName()}:`;
    const security = applySecurity(app, { ...base, redis: client, redisPrefix: prefix });
    app.post("/in", (req, res, next) => void security.logIn(req, { id: "ada" }).then(() => res.send("in"), next));
    app.get("/", security.requireSession(), (_req, res) => void res.send("ok"));
    await security.ready();
    const tcp = await serve(app);
    const logIn = await tcp.send("/in", { method: "POST", headers: { "sec-fetch-site": "same-origin" } });
    const cookie = (logIn.headers["set-cookie"] ?? []).map((line) => line.split(";")[0]).join("; ");
    expect((await tcp.send("/", { headers: { cookie } })).status).toBe(200);
    await expect.poll(() => redisSays(server.port, `PUBSUB NUMSUB ${prefix}{changes}:told`)).toMatch(/:1\r\n/);
    await tcp.close();
    await security.close();
    await (client.destroy ?? client.disconnect)?.call(client);
  });
});

describe("Redis over TLS by a URL", () => {
  test("an authority that Node does not know is refused at once, with the reason and what to do", async () => {
    const security = applySecurity(express(), { ...base, redis: `rediss://app:hunter2@127.0.0.1:${tlsPort}` });
    const began = performance.now();
    const reason: unknown = await security.ready().catch((error: unknown) => error);
    expect(performance.now() - began).toBeLessThan(2000);
    expect(reason).toBeInstanceOf(SetupError);
    expect((reason as Error).message).toMatchInlineSnapshot(
      `"The certificate of the Redis server is not trusted (self-signed certificate in certificate chain). Set NODE_EXTRA_CA_CERTS to the file of the authority that signed it, or pass a client with the option \`ca\` instead of a URL."`,
    );
    await security.close();
  });

  test("a name that is not in the certificate is refused", async () => {
    const security = applySecurity(express(), { ...base, redis: `rediss://localhost:${tlsPort}` });
    await expect(security.ready()).rejects.toThrow(/certificate/);
    await security.close();
  });

  test("an authority in NODE_EXTRA_CA_CERTS is accepted", async () => {
    vi.stubEnv("NODE_EXTRA_CA_CERTS", certificates.ca);
    const member = await startMember({ redis: url, redisPrefix: `${uniqueName()}:` }).finally(() => vi.unstubAllEnvs());
    const { cookie = "" } = await member.send("POST", "/in/ada");
    expect((await member.send("GET", "/who", { cookie })).body).toEqual({ id: "ada" });
    expect(await member.end()).toBe(0);
  });

  test("a wrong password is reported at once too", async () => {
    const stranger = applySecurity(express(), { ...base, redis: `redis://nobody:hunter2@127.0.0.1:${server.port}` });
    await expect(stranger.ready()).rejects.toThrow(
      "Redis rejected the user name or password (WRONGPASS invalid username-password pair or user is disabled).",
    );
    await stranger.close();
  });
});
