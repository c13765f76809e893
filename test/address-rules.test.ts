import express4 from "express4";
import fc from "fast-check";
import type { ErrorRequestHandler, Express } from "express";
import express5 from "express";
import { afterEach, describe, expect, it } from "vitest";
import {
  applySecurity,
  parseSettings,
  rateLimiter,
  type SecurityEvent,
  SecurityEvents,
  SettingsError,
} from "portcullis";
import { AddressList } from "../src/core/http/address-list.js";
import { EXPRESS } from "./support/express-versions.js";
import { serve, type TestServer } from "./support/serve.js";

const HOSTS = { trustedHosts: ["127.0.0.1"] };
const from = (address: string) => ({ headers: { "x-forwarded-for": address } });

function issuesOf(run: () => unknown): string[] {
  try {
    run();
  } catch (error) {
    if (error instanceof SettingsError) return error.issues.map(({ code, path }) => `${code} ${path}`);
    throw error;
  }
  return [];
}

describe.each(EXPRESS)("address lists on $name", ({ express }) => {
  const open: { close(): unknown }[] = [];
  afterEach(async () => {
    for (const one of open.splice(0)) await one.close();
  });

  interface Started extends TestServer {
    events: SecurityEvent[];
    reached: string[];
  }

  /** An app behind one proxy, whose clients' addresses are those of X-Forwarded-For. */
  async function start(
    routes: (app: Express, security: ReturnType<typeof applySecurity>) => void,
    settings = {},
  ): Promise<Started> {
    const app = express();
    const security = applySecurity(app, { ...HOSTS, trustProxy: 1, rateLimit: false, ...settings });
    const events: SecurityEvent[] = [];
    const reached: string[] = [];
    security.events.on("*", (event) => events.push(event));
    routes(app, security);
    app.use((req, res) => {
      reached.push(req.path);
      res.send("in");
    });
    const server = await serve(app);
    open.push(server, security);
    return { ...server, events, reached };
  }

  const RANGES = ["192.0.2.0/24", "198.51.100.7", "2001:db8::/32", "::ffff:203.0.113.0/120"];
  const LISTED = [
    "192.0.2.1",
    "::ffff:192.0.2.1",
    "::ffff:c000:201",
    "192.0.2.1:4711",
    "64:ff9b::192.0.2.1",
    "198.51.100.7",
    "2001:db8::7",
    "2001:DB8:0:0:0:0:0:7",
    "[2001:db8::7]:443",
    "203.0.113.9",
    "::ffff:203.0.113.9",
  ];
  const OTHERS = [
    "192.0.3.1",
    "198.51.100.8",
    "2001:db9::7",
    "203.0.114.9",
    "::ffff:192.0.3.1",
    "::192.0.2.1",
    "127.0.0.1",
  ];

  it("allowFrom lets listed clients through, and denyFrom all others, whatever the notation", async () => {
    const server = await start((app, security) => {
      app.use("/admin", security.allowFrom(RANGES));
      app.use("/register", security.denyFrom(RANGES));
    });
    const statuses = async (path: string, addresses: readonly string[]) =>
      Promise.all(addresses.map(async (address) => (await server.send(path, from(address))).status));
    expect(await statuses("/admin", LISTED)).toEqual(LISTED.map(() => 200));
    expect(await statuses("/admin", OTHERS)).toEqual(OTHERS.map(() => 403));
    expect(await statuses("/register", LISTED)).toEqual(LISTED.map(() => 403));
    expect(await statuses("/register", OTHERS)).toEqual(OTHERS.map(() => 200));
    expect(await statuses("/open", [...LISTED, ...OTHERS])).toEqual([...LISTED, ...OTHERS].map(() => 200));
    expect(server.reached.filter((path) => path === "/admin")).toHaveLength(LISTED.length);
  });

  it("refuses with a problem that shows nothing of the request or the list, and one event", async () => {
    const server = await start((app, security) => void app.use("/admin", security.allowFrom(RANGES)));
    const answer = await server.send("/admin/keys?token=secret", from("203.0.114.9"));
    expect([answer.status, answer.headers["content-type"], answer.headers["cache-control"]]).toEqual([
      403,
      "application/problem+json; charset=utf-8",
      "no-store",
    ]);
    expect(answer.json()).toMatchObject({ code: "address-refused", status: 403, title: "Address refused" });
    for (const text of ["203.0", "192.0", "2001", "secret", "admin"]) expect(answer.text).not.toContain(text);
    expect(answer.headers["content-security-policy"]).toBeDefined();
    expect(server.events.filter(({ code }) => code === "address-refused")).toEqual([
      expect.objectContaining({
        event: "authz_fail",
        level: "WARN",
        source: "allowFrom",
        reason: "not-allowed",
        status: 403,
        sourceIp: "203.0.114.9",
        path: "/admin/keys",
      }),
    ]);
  });

  it("rateLimit.deny refuses before anything is counted, on every route, and wins over allow", async () => {
    const server = await start(() => undefined, {
      rateLimit: { limit: 2, deny: ["192.0.2.0/24"], allow: ["192.0.2.0/24"] },
    });
    for (let n = 0; n < 5; n += 1) {
      const answer = await server.send(`/any/${n}`, from("192.0.2.9"));
      expect([answer.status, answer.headers["ratelimit"]]).toEqual([403, undefined]);
      expect(answer.json()).toMatchObject({ code: "address-refused" });
    }
    const others = [];
    for (let n = 0; n < 3; n += 1) others.push((await server.send("/", from("192.0.3.9"))).status);
    expect(others).toEqual([200, 200, 429]);
    expect(server.events.filter(({ code }) => code === "address-refused")[0]).toMatchObject({
      source: "rate-limit",
      reason: "denied",
    });
  });

  it.each(["address", "principal"] as const)("rateLimit.deny holds with key: %s and perPrincipal", async (key) => {
    const server = await start(() => undefined, {
      session: {},
      secretKey: "k3Vt9sQfYb2LxWn8RzGj5HdPm7CuTa4E",
      rateLimit: { key, deny: ["192.0.2.0/24"], perPrincipal: { limit: 5 } },
    });
    expect((await server.send("/", from("192.0.2.9"))).status).toBe(403);
    expect((await server.send("/", from("192.0.3.9"))).status).toBe(200);
    expect(server.events.filter(({ code }) => code === "address-refused")).toHaveLength(1);
  });

  it("rateLimit.deny in report mode announces and lets through", async () => {
    const server = await start(() => undefined, { rateLimit: { mode: "report", deny: ["192.0.2.0/24"] } });
    expect((await server.send("/", from("192.0.2.9"))).status).toBe(200);
    expect(server.events.filter(({ code }) => code === "address-refused")).toMatchObject([{ mode: "report" }]);
  });

  it("rateLimiter() alone has deny too", async () => {
    const events = new SecurityEvents();
    const app = express();
    app.set("trust proxy", 1);
    app.use(rateLimiter({ deny: ["192.0.2.0/24"] }, { events }));
    app.use((_req, res) => void res.send("in"));
    const server = await serve(app);
    open.push(server);
    expect((await server.send("/", from("192.0.2.9"))).status).toBe(403);
    expect((await server.send("/", from("192.0.3.9"))).status).toBe(200);
  });

  it("an address that a client forges is not read: only that of the connection, and the event reports it once", async () => {
    const server = await start(
      (app, security) => {
        app.use("/admin", security.allowFrom(["192.0.2.0/24"]));
        app.use("/local", security.allowFrom(["127.0.0.0/8"]));
      },
      { trustProxy: false },
    );
    expect((await server.send("/admin", from("192.0.2.1"))).status).toBe(403);
    expect((await server.send("/admin", from("192.0.2.1, 192.0.2.2"))).status).toBe(403);
    expect((await server.send("/local", from("192.0.2.1"))).status).toBe(200);
    expect(
      server.events.filter(({ event }) => event === "portcullis_untrusted_proxy").map(({ source }) => source),
    ).toEqual(["allowFrom", "allowFrom"]);
  });
});

describe("the settings of address lists", () => {
  const security = () => applySecurity(express5(), { ...HOSTS, trustProxy: 1 });

  it.each<{ ranges: unknown; issues: string[] }>([
    { ranges: ["192.0.2.0/24"], issues: [] },
    { ranges: [], issues: ["wrong-value "] },
    { ranges: "192.0.2.0/24", issues: ["wrong-type "] },
    { ranges: undefined, issues: ["missing-setting "] },
    { ranges: ["192.0.2.0/24", "example.com", "192.0.2.0/33"], issues: ["wrong-value [1]", "wrong-value [2]"] },
    { ranges: [7], issues: ["wrong-type [0]"] },
  ])("takes a list of ranges: $ranges", ({ ranges, issues }) => {
    expect(issuesOf(() => security().allowFrom(ranges as string[]))).toEqual(issues);
    expect(issuesOf(() => security().denyFrom(ranges as string[]))).toEqual(issues);
  });

  it.each([["0.0.0.0/0"], ["::/0"], ["0.0.0.0/1", "128.0.0.0/1"], ["2000::/3"], ["::ffff:0:0/96"]])(
    "allowFrom refuses what contains a large part of all addresses: %s",
    (...ranges) => {
      expect(issuesOf(() => security().allowFrom(ranges))).toEqual(["unsafe-setting "]);
    },
  );

  it("need trustProxy, except in debug: behind an unknown proxy every client has its address", () => {
    const rules = (settings: object) => {
      const made = applySecurity(express4() as unknown as Express, { ...HOSTS, ...settings });
      return [issuesOf(() => made.allowFrom(["10.0.0.0/8"])), issuesOf(() => made.denyFrom(["192.0.2.1"]))];
    };
    const refused = ["contradiction trustProxy"];
    expect(rules({})).toEqual([refused, refused]);
    for (const settings of [{ trustProxy: false }, { trustProxy: 1 }, { trustProxy: ["10.0.0.1"] }, { debug: true }])
      expect(rules(settings)).toEqual([[], []]);
    const deny = { ...HOSTS, rateLimit: { deny: ["192.0.2.1"] } };
    expect(issuesOf(() => parseSettings(deny))).toEqual(refused);
    expect(issuesOf(() => parseSettings({ ...deny, trustProxy: 1, rateLimit: { deny: [] } }))).toEqual([
      "wrong-value rateLimit.deny",
    ]);
    for (const more of [{ trustProxy: false }, { trustProxy: 1 }, { debug: true }])
      expect(issuesOf(() => parseSettings({ ...deny, ...more }))).toEqual([]);
    // A proxy that trusts every client is refused anyway.
    expect(issuesOf(() => parseSettings({ ...deny, trustProxy: ["0.0.0.0/0"] }))).toEqual(["contradiction trustProxy"]);
  });

  it("a rule that is mounted without being called reaches the error handling, not the route", async () => {
    const app = express5();
    const { allowFrom } = applySecurity(app, { ...HOSTS, trustProxy: 1 });
    app.use(allowFrom as never);
    app.use((_req, res) => void res.send("in"));
    app.use(((error: Error, _req, res, _next) => void res.status(500).send(error.message)) as ErrorRequestHandler);
    const server = await serve(app);
    expect((await server.send("/")).text).toMatch(/mounted without being called/);
    await server.close();
  });

  it("a list decides as the bits do, for any range and address", () => {
    const octet = fc.integer({ min: 0, max: 255 });
    const quad = fc.tuple(octet, octet, octet, octet);
    const value = ([a, b, c, d]: readonly number[]) => ((a! * 256 + b!) * 256 + c!) * 256 + d!;
    fc.assert(
      fc.property(quad, fc.integer({ min: 0, max: 32 }), quad, (base, prefix, address) => {
        const size = 2 ** (32 - prefix);
        const isIn = Math.floor(value(base) / size) === Math.floor(value(address) / size);
        const list = new AddressList([`${base.join(".")}/${prefix}`]);
        const mapped = new AddressList([`::ffff:${base.join(".")}/${96 + prefix}`]);
        for (const text of [address.join("."), `::ffff:${address.join(".")}`]) {
          expect(list.has(text)).toBe(isIn);
          expect(mapped.has(text)).toBe(isIn);
        }
      }),
    );
  });
});
