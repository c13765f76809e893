import type { Express, Request, Response } from "express";
import fc from "fast-check";
import { afterEach, describe, expect, it } from "vitest";
import { parseAuthority } from "../../src/core/http/authority.js";
import { applySecurity, type SecurityEvent, SecurityEvents, trustedHost } from "../../src/index.js";
import type { TrustedHostSettings } from "../../src/trusted-host/settings.js";
import { EXPRESS } from "../support/express-versions.js";
import { serve, type TestServer } from "../support/serve.js";

const TENANT = "shop.tenant.example";
const EVIL = "evil.example.net";

describe.each(EXPRESS)("hosts as a function over a socket, $name", ({ express }) => {
  let server: TestServer | undefined;
  const events: SecurityEvent[] = [];
  const asked: string[] = [];
  const tenants = new Set([TENANT, "127.0.0.1", "[::1]", "my_service"]);
  const inTable = (host: string): boolean => {
    asked.push(host);
    return tenants.has(host);
  };
  afterEach(async () => {
    events.length = asked.length = 0;
    await server?.close();
    server = undefined;
  });

  async function start(
    settings: TrustedHostSettings,
    prepare: (app: Express) => void = () => undefined,
  ): Promise<TestServer> {
    const app = express();
    prepare(app);
    app.use(trustedHost(settings, { events: new SecurityEvents().on("*", (event) => events.push(event)) }));
    app.use((_req: Request, res: Response) => void res.send("app"));
    server = await serve(app);
    return server;
  }
  const status = async (to: TestServer, ...lines: string[]): Promise<number> => {
    const answer = await to.raw(Buffer.from(`${[...lines, "Connection: close"].join("\r\n")}\r\n\r\n`, "latin1"));
    return Number(/^HTTP\/1\.1 (\d{3})/.exec(answer)?.[1]);
  };
  const get = (to: TestServer, host: string): Promise<number> => status(to, "GET / HTTP/1.1", `Host: ${host}`);
  const seen = (): string[] => events.map(({ event, reason }) => `${event} ${reason}`);

  it.each<[string, TrustedHostSettings]>([
    ["at once", { hosts: inTable }],
    ["after a while", { hosts: async (host) => Promise.resolve(inTable(host)) }],
    ["without an object around it", inTable],
  ])("serves what the function trusts and no other host: %s", async (_when, settings) => {
    const to = await start(settings);
    expect(await get(to, TENANT)).toBe(200);
    expect(await get(to, EVIL)).toBe(400);
    expect(asked).toEqual([TENANT, EVIL]);
    expect(events).toEqual([
      expect.objectContaining({ event: "portcullis_untrusted_host", reason: "not-listed", status: 400 }),
    ]);
  });

  it("gets the host in its only spelling, without the port", async () => {
    const to = await start({ hosts: inTable });
    for (const [sent, host] of [
      ["SHOP.Tenant.EXAMPLE.:8443", TENANT],
      ["127.0.0.1:80", "127.0.0.1"],
      ["[0:0::1]:3000", "[::1]"],
      ["my_service", "my_service"],
    ] as const) {
      expect(await get(to, sent), sent).toBe(200);
      expect(asked.at(-1), sent).toBe(host);
    }
  });

  it("is not asked about what is not a host, and once about a request", async () => {
    const to = await start({ hosts: () => inTable("asked") || true });
    // Node 24 reads it.
    const notRead = ["xn--a.example"].filter((host) => !URL.canParse(`http://${host}`));
    for (const host of [
      "",
      "a b",
      `user@${TENANT}`,
      `${TENANT}/`,
      `${TENANT}:`,
      "127.1",
      ...notRead,
      `${"a".repeat(254)}`,
      `${TENANT}, ${EVIL}`,
    ])
      expect(await get(to, host), host).toBe(400);
    expect(await status(to, "GET / HTTP/1.1", `Host: ${TENANT}`, `Host: ${TENANT}`)).toBe(400);
    expect(await status(to, "GET / HTTP/1.0")).toBe(400);
    expect(await status(to, `GET http://${EVIL}/ HTTP/1.1`, `Host: ${TENANT}`)).toBe(400);
    expect(asked).toEqual([]);
    expect(await get(to, TENANT)).toBe(200);
    expect(await status(to, `GET http://${TENANT}/ HTTP/1.1`, `Host: ${TENANT}`)).toBe(200);
    expect(asked).toHaveLength(2);
    expect(new Set(seen())).toEqual(
      new Set(
        ["missing", "duplicate", "malformed", ...notRead.map(() => "not-listed"), "target-mismatch"].map(
          (reason) => `portcullis_untrusted_host ${reason}`,
        ),
      ),
    );
  });

  it("an outage of the table is 503 with Retry-After and one event, and no untrusted host", async () => {
    let isDown = true;
    const to = await start({
      hosts: (host) => (isDown ? Promise.reject(new Error("no table")) : inTable(host)),
      exemptPaths: ["/healthz"],
    });
    for (let i = 0; i < 3; i += 1) {
      const answer = await to.send("/", { headers: { host: TENANT } });
      expect([answer.status, answer.headers["retry-after"], answer.json()]).toEqual([
        503,
        "1",
        expect.objectContaining({ code: "store-unavailable" }),
      ]);
    }
    expect((await to.send("/healthz", { headers: { host: EVIL } })).status).toBe(200);
    expect(seen()).toEqual(["portcullis_store_unavailable function-rejected"]);
    isDown = false;
    expect(await get(to, TENANT)).toBe(200);
    expect(await get(to, EVIL)).toBe(400);
  });

  it("a function that does not answer costs a request 250 milliseconds", async () => {
    const to = await start({ hosts: (host) => (host === TENANT ? true : new Promise<boolean>(() => undefined)) });
    const before = performance.now();
    expect(await get(to, EVIL)).toBe(503);
    expect(performance.now() - before).toBeGreaterThan(245);
    expect(await get(to, TENANT)).toBe(200);
    expect(seen()).toEqual(["portcullis_store_unavailable function-late"]);
  });

  it("a flood of invented hosts costs a bounded number of calls, and does not shut out a known host", async () => {
    const open: (() => void)[] = [];
    const to = await start({
      hosts: (host) =>
        host === TENANT ? Promise.resolve(true) : new Promise((resolve) => open.push(() => resolve(false))),
    });
    const send = async (host: string): Promise<number> => (await to.send("/", { headers: { host } })).status;
    expect(await send(TENANT)).toBe(200);
    const flood = Promise.all(Array.from({ length: 60 }, (_, i) => send(`a${i}.example`)));
    const known = Array.from({ length: 5 }, () => send(TENANT));
    expect(await Promise.all(known)).toEqual([200, 200, 200, 200, 200]);
    expect(new Set(await flood)).toEqual(new Set([503]));
    expect(open).toHaveLength(25);
    expect(new Set(seen())).toEqual(
      new Set(["portcullis_overload calls", "portcullis_store_unavailable function-late"]),
    );
    for (const settle of open.splice(0)) settle();
    expect(await send("a0.example")).toBe(503);
    expect(open).toHaveLength(1);
    expect(await send(TENANT)).toBe(200);
  });

  it("in report mode lets every request pass", async () => {
    const to = await start({ hosts: (host) => host !== EVIL && Promise.reject(new Error("no table")), mode: "report" });
    expect(await get(to, TENANT)).toBe(200);
    expect(await get(to, EVIL)).toBe(200);
    expect(seen()).toEqual(["portcullis_store_unavailable function-rejected", "portcullis_untrusted_host not-listed"]);
  });

  it("is asked about every host in the X-Forwarded-Host of a trusted proxy, and about none of another peer", async () => {
    const send = async (to: TestServer, forwarded: string): Promise<number> =>
      (await to.send("/", { headers: { host: "backend:3000", "x-forwarded-host": forwarded } })).status;
    const behind = await start({ hosts: async (host) => Promise.resolve(inTable(host)), forwardedHost: true }, (app) =>
      app.set("trust proxy", 1),
    );
    expect(await send(behind, TENANT)).toBe(200);
    expect(await send(behind, `${TENANT.toUpperCase()}:443, ${TENANT}, my_service`)).toBe(200);
    expect(await send(behind, `${TENANT}, ${EVIL}`)).toBe(400);
    expect(asked).toEqual([TENANT, TENANT, "my_service", TENANT, EVIL]);
    expect(await send(behind, `${TENANT}, a b`)).toBe(400);
    expect(await send(behind, Array.from({ length: 9 }, (_, i) => `a${i}.example`).join())).toBe(400);
    expect(asked).toHaveLength(5);
    expect(new Set(seen())).toEqual(new Set(["portcullis_untrusted_host forwarded-not-listed"]));
    await behind.close();
    asked.length = 0;
    const direct = await start({ hosts: inTable, forwardedHost: true });
    expect(await send(direct, TENANT)).toBe(400);
    expect(asked).toEqual(["backend"]);
  });

  it("under applySecurity decides before everything but the headers, and describe() says that it is a function", async () => {
    const app = express();
    const security = applySecurity(app, { trustedHosts: { hosts: async (host) => Promise.resolve(inTable(host)) } });
    app.use((_req: Request, res: Response) => void res.send("app"));
    server = await serve(app);
    const refused = await server.send("/", { headers: { host: EVIL } });
    expect([refused.status, refused.headers["x-content-type-options"], refused.headers["ratelimit"]]).toEqual([
      400,
      "nosniff",
      undefined,
    ]);
    const served = await server.send("/", { headers: { host: TENANT } });
    expect([served.status, served.headers["x-content-type-options"]]).toEqual([200, "nosniff"]);
    expect(security.describe().find(({ id }) => id === "trusted-host")?.settings).toMatchObject({ hosts: "function" });
    await security.close();
  });

  it("gets nothing but hosts that the strict parser has read and URL reads alike", async () => {
    const gotten: string[] = [];
    const to = await start({
      hosts: (host) => {
        gotten.push(host);
        return true;
      },
    });
    const host = fc.oneof(
      fc.domain(),
      fc.ipV4(),
      fc.ipV6().map((address) => `[${address}]`),
      fc.constantFrom("127.1", "xn--a", "a_b.example", "EXAMPLE.com", "a..b", "[::1%eth0]"),
      fc.stringMatching(/^[\x21-\x7e]{1,12}$/),
    );
    const end = fc.constantFrom("", "", ".", ":80", ":8443", ":0", ":", "/", ",a.example");
    const counts = { asked: 0, not: 0 };
    await fc.assert(
      fc.asyncProperty(host, end, async (a, b) => {
        const status = await get(to, a + b);
        const got = gotten.pop();
        expect([status, gotten]).toEqual([got === undefined ? 400 : 200, []]);
        if (got === undefined) return void (counts.not += 1);
        counts.asked += 1;
        expect(got).toBe(parseAuthority(a + b)?.host);
        expect(new URL(`http://${got}/`).hostname).toBe(got);
      }),
      { numRuns: 300 },
    );
    expect(Math.min(counts.asked, counts.not)).toBeGreaterThan(0);
  });
});
