import type { Express, Request } from "express";
import { ipKeyGenerator } from "express-rate-limit";
import { afterEach, describe, expect, it, vi } from "vitest";
import { applySecurity } from "../../src/apply-security.js";
import { clientAddress } from "../../src/core/request-state.js";
import { EXPRESS } from "../support/express-versions.js";
import { serve } from "../support/serve.js";

describe.each(EXPRESS)("one client in all notations of its address on $name", ({ express }) => {
  const ends: (() => unknown)[] = [];
  afterEach(async () => {
    vi.restoreAllMocks();
    for (const end of ends.splice(0)) await end();
  });

  async function start(
    settings: object,
    routes: (app: Express, security: ReturnType<typeof applySecurity>) => void = () => undefined,
  ) {
    const app = express();
    const security = applySecurity(app, { trustedHosts: ["127.0.0.1"], trustProxy: 1, ...settings });
    routes(app, security);
    app.use((req, res) => void res.send(clientAddress(req)));
    const server = await serve(app);
    ends.push(
      () => server.close(),
      () => security.close(),
    );
    return async (chain: string) => (await server.send("/", { headers: { "x-forwarded-for": chain } })).status;
  }

  it.each([
    ["203.0.113.9:4001", "203.0.113.9:4002", "::ffff:203.0.113.9", "[::ffff:cb00:7109]:99", "64:ff9b::cb00:7109"],
    ["[2001:db8::1]:4001", "[2001:DB8::1]:4002", "2001:db8::1%eth0", "2001:db8:0:0::1"],
  ])("counts as one in the main limit, and in keys made by functions: %s, …", async (...spellings) => {
    const main = await start({ rateLimit: { limit: 1 } });
    vi.spyOn(process, "emitWarning").mockImplementation(() => undefined);
    const byIp = await start({ rateLimit: { limit: 1, key: (req: { ip: string }) => `ip ${req.ip}` } });
    const recipe = await start({}, (app, security) =>
      app.use(
        security.rateLimit({
          name: "login-pair",
          limit: 1,
          key: (req) => `${ipKeyGenerator(clientAddress(req), 56)} ada`,
        }),
      ),
    );
    for (const ask of [main, byIp, recipe]) {
      const statuses: number[] = [];
      for (const spelling of spellings) statuses.push(await ask(spelling));
      expect(statuses).toEqual([200, ...spellings.slice(1).map(() => 429)]);
      expect(await ask("203.0.113.10:4001")).toBe(200);
    }
    // Once for the limiter whose function gave a port, and not for the recipe.
    expect(
      vi.mocked(process.emitWarning).mock.calls.filter(([text]) => String(text).includes("clientAddress(req)")),
    ).toHaveLength(1);
  });

  it("counts with its IPv6 subnet in a key made by a function, however the function writes it, and not with other subnets", async () => {
    const keys: Record<string, (req: Request) => string> = {
      clientAddress: clientAddress,
      "clientAddress with a name": (req) => `${clientAddress(req)} ada`,
      "req.ip": (req) => String(req.ip),
      "req.ip with text of the client that names its subnet": (req) => `${req.ip} 2001:db8::/56`,
      ipKeyGenerator: (req) => ipKeyGenerator(clientAddress(req), 56),
    };
    for (const [name, key] of Object.entries(keys)) {
      const ask = await start({ rateLimit: { limit: 3, key } });
      const statuses: number[] = [];
      for (const address of ["2001:db8::", "2001:db8::1", "2001:db8:0:7f::2", "2001:db8::3", "2001:db8:0:100::1"])
        statuses.push(await ask(address));
      expect([name, statuses]).toEqual([name, [200, 200, 200, 429, 200]]);
    }
  });

  it("counts as one behind trusted proxies that write ports, and not behind proxies that are not listed", async () => {
    const ask = await start({ trustProxy: ["loopback", "10.0.0.0/8"], rateLimit: { limit: 1 } });
    for (let i = 0; i < 3; i += 1) expect(await ask(`203.0.113.${i}:50${i}, 10.0.0.4:41${i}`)).toBe(200);
    expect(await ask("203.0.113.1:7, 10.0.0.4:8")).toBe(429);
    expect([await ask("203.0.113.50, 192.0.2.4:41"), await ask("203.0.113.51, 192.0.2.4:42")]).toEqual([200, 429]);
  });
});
