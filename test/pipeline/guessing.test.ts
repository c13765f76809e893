import { afterEach, describe, expect, it } from "vitest";
import type { Request } from "express";
import { ipKeyGenerator } from "express-rate-limit";
import { applySecurity } from "portcullis";
import { EXPRESS } from "../support/express-versions.js";
import { ManualClock } from "../support/manual-clock.js";
import { serve, type TestServer } from "../support/serve.js";

const PASSWORDS: Record<string, string> = {
  ada: "correct horse battery staple",
  bob: "tr0ub4dor and three more words",
};
const accountOf = (req: Request): string => {
  const { user } = req.body as { user?: unknown };
  return typeof user === "string" ? user.slice(0, 64).toLowerCase() : "";
};

/** ASVS 5.0 V6.3.1: what src/rate-limit/README.md says of a log-in route, done as it says. */
describe.each(EXPRESS)("a log-in route behind three limits on $name", ({ express }) => {
  const open: { close(): Promise<void> }[] = [];
  afterEach(async () => {
    for (const one of open.splice(0)) await one.close();
  });

  async function start(
    clock = new ManualClock(),
  ): Promise<{ server: TestServer; checked: string[]; events: string[] }> {
    const app = express();
    const checked: string[] = [];
    const events: string[] = [];
    const settings = {
      trustedHosts: ["127.0.0.1"],
      trustProxy: 1,
      secretKey: "Yw3v9hQ2pX7rT5mK8sD1fG6jL4zB0nCq",
      session: {},
      rateLimit: { limit: 100_000 },
    };
    const security = applySecurity(app, settings, { clock });
    security.events.on("excess_rate_limit_exceeded", ({ reason, sourceIp }) => events.push(`${reason} ${sourceIp}`));
    app.post(
      "/login",
      security.rateLimit({ name: "login-address", limit: 20, windowSeconds: 300, key: "address" }),
      express.json({ limit: "2kb" }),
      security.rateLimit({
        name: "login-pair",
        limit: 10,
        windowSeconds: 3600,
        key: (req) => `${ipKeyGenerator(req.ip ?? "", 56)} ${accountOf(req)}`,
      }),
      security.rateLimit({
        name: "login-account",
        limit: 100,
        windowSeconds: 3600,
        key: (req) => `account ${accountOf(req)}`,
      }),
      (req, res, next) => {
        const { password } = req.body as { password?: unknown };
        checked.push(accountOf(req));
        if (password !== PASSWORDS[accountOf(req)]) return void res.sendStatus(401);
        security.logIn(req, { id: accountOf(req) }).then(() => res.sendStatus(204), next);
      },
    );
    await security.ready();
    const server = await serve(app);
    open.push(server, security);
    return { server, checked, events };
  }

  const attempt = async (server: TestServer, from: string, user: string, password: string): Promise<number> =>
    (
      await server.send("/login", {
        method: "POST",
        headers: { "x-forwarded-for": from, "content-type": "application/json" },
        body: JSON.stringify({ user, password }),
      })
    ).status;

  it("stops brute force on one account from one address after ten attempts, however the name is written", async () => {
    const { server, checked, events } = await start();
    const statuses: number[] = [];
    for (let guess = 0; guess < 17; guess += 1)
      statuses.push(await attempt(server, "192.0.2.7", guess % 2 === 0 ? "ada" : "ADA", `guess ${guess}`));
    expect(statuses).toEqual([...new Array<number>(10).fill(401), ...new Array<number>(7).fill(429)]);
    expect(checked).toHaveLength(10);
    expect(events).toEqual(new Array<string>(7).fill("route:login-pair 192.0.2.7"));
    // Nor does the right password help whoever guesses on.
    expect(await attempt(server, "192.0.2.7", "ada", PASSWORDS.ada ?? "")).toBe(429);
  });

  it("does not lock out the owner, who comes from another address", async () => {
    const { server } = await start();
    for (let guess = 0; guess < 40; guess += 1) await attempt(server, "192.0.2.7", "ada", `guess ${guess}`);
    for (let guess = 0; guess < 40; guess += 1)
      await attempt(server, `2001:db8:0:1:${guess.toString(16)}::7`, "ada", `guess ${guess}`);
    expect(await attempt(server, "198.51.100.9", "ada", PASSWORDS.ada ?? "")).toBe(204);
  });

  it("stops credential stuffing, which tries each account once, after twenty attempts of an address or an IPv6 subnet", async () => {
    const { server, checked } = await start();
    for (let guess = 0; guess < 60; guess += 1) await attempt(server, "192.0.2.7", `user-${guess}`, "Summer2026!");
    expect(checked).toHaveLength(20);
    for (let guess = 0; guess < 60; guess += 1)
      await attempt(server, `2001:db8:0:1:${guess.toString(16)}::7`, `user-${guess}`, "Summer2026!");
    expect(checked).toHaveLength(40);
    expect(await attempt(server, "198.51.100.9", "bob", PASSWORDS.bob ?? "")).toBe(204);
  });

  it("limits guesses from ever new addresses to a hundred an hour, and accepts log-ins again afterwards", async () => {
    const clock = new ManualClock();
    const { server, checked } = await start(clock);
    for (let guess = 0; guess < 130; guess += 1) await attempt(server, `203.0.${guess}.9`, "ada", `guess ${guess}`);
    expect(checked).toHaveLength(100);
    expect(await attempt(server, "198.51.100.9", "bob", PASSWORDS.bob ?? "")).toBe(204);
    clock.advance(3_600_001);
    expect(await attempt(server, "198.51.100.9", "ada", PASSWORDS.ada ?? "")).toBe(204);
  });
});
