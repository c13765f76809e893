import type { Request, Response } from "express";
import { afterEach, describe, expect, it } from "vitest";
import { applySecurity, type Security, type SecurityEvent, type SecuritySettings } from "../../src/index.js";
import { EXPRESS } from "../support/express-versions.js";
import { serve, type TestServer } from "../support/serve.js";

const TENANT = "https://shop.tenant.example";
const EVIL = "https://evil.example.net";

describe.each(EXPRESS)("forged requests where a function decides about origins, $name", ({ express }) => {
  let server: TestServer | undefined;
  let security: Security | undefined;
  const events: SecurityEvent[] = [];
  const asked: string[] = [];
  const inTable = (origin: string): boolean => {
    asked.push(origin);
    return origin === TENANT || origin === "http://shop.tenant.example";
  };
  afterEach(async () => {
    await server?.close();
    await security?.close();
    events.length = asked.length = 0;
  });

  async function start(cors: SecuritySettings["cors"], csrf: SecuritySettings["csrf"] = {}): Promise<TestServer> {
    const app = express();
    security = applySecurity(app, { trustedHosts: ["127.0.0.1"], cors, csrf });
    security.events.on("*", (event) => events.push(event));
    app.use((_req: Request, res: Response) => void res.send("app"));
    return (server = await serve(app));
  }
  const post = async (to: TestServer, headers: Record<string, string | string[]>): Promise<number> =>
    (await to.send("/", { method: "POST", headers })).status;
  const seen = (): string[] => events.map(({ event, reason }) => `${event} ${reason}`);

  it.each<[string, (origin: string) => boolean | Promise<boolean>]>([
    ["at once", inTable],
    ["after a while", async (origin) => Promise.resolve(inTable(origin))],
  ])("accepts an unsafe request of an origin that the function trusts, with one call: %s", async (_when, origins) => {
    const to = await start({ origins, credentials: true });
    expect(await post(to, { origin: TENANT, "sec-fetch-site": "cross-site" })).toBe(200);
    expect(await post(to, { origin: TENANT })).toBe(200);
    expect(asked).toEqual([TENANT, TENANT]);
    expect(await post(to, { origin: EVIL, "sec-fetch-site": "cross-site" })).toBe(403);
    expect(asked).toEqual([TENANT, TENANT, EVIL]);
    expect(seen()).toEqual(["malicious_cors unlisted-origin", "malicious_csrf cross-site"]);
  });

  it("is not asked about the service's own pages, null, two origins, and requests without one", async () => {
    const to = await start({ origins: () => inTable("asked") || true });
    expect(await post(to, { origin: to.origin })).toBe(200);
    expect(await post(to, { origin: to.origin, "sec-fetch-site": "same-origin" })).toBe(200);
    expect(await post(to, {})).toBe(200);
    expect(await post(to, { origin: "null" })).toBe(403);
    expect(await post(to, { origin: [TENANT, TENANT] })).toBe(403);
    expect(await post(to, { origin: TENANT, "sec-fetch-site": ["same-origin", "cross-site"] })).toBe(403);
    expect(await post(to, { "sec-fetch-site": "cross-site" })).toBe(403);
    expect(asked.length).toBeLessThanOrEqual(1);
    asked.length = 0;
    expect(await post(to, { origin: TENANT, "sec-fetch-site": "cross-site" })).toBe(200);
    expect(asked).toEqual(["asked"]);
  });

  it("is asked by this layer where CORS has not asked: a reloaded form that Safari calls same-origin", async () => {
    const to = await start({ origins: inTable });
    expect(await post(to, { origin: EVIL, "sec-fetch-site": "same-origin" })).toBe(403);
    expect(await post(to, { origin: TENANT, "sec-fetch-site": "same-origin" })).toBe(200);
    expect(asked).toEqual([EVIL, TENANT]);
    expect(seen()).toEqual(["malicious_csrf origin-mismatch"]);
  });

  it("does not trust plain http with credentials, as a list does not", async () => {
    const to = await start({ origins: inTable, credentials: true });
    expect(await post(to, { origin: "http://shop.tenant.example" })).toBe(403);
    expect(asked).toEqual([]);
    expect(await post(to, { origin: TENANT })).toBe(200);
  });

  it("without an answer is 503 with Retry-After after one call, and nothing is called forged", async () => {
    let calls = 0;
    const to = await start(
      {
        origins: async () => {
          calls += 1;
          return Promise.reject(new Error("no table"));
        },
      },
      { trustedOrigins: ["https://listed.example"] },
    );
    const answer = await to.send("/", { method: "POST", headers: { origin: TENANT, "sec-fetch-site": "cross-site" } });
    expect([answer.status, answer.headers["retry-after"], calls]).toEqual([503, "1", 1]);
    expect(await post(to, { origin: to.origin })).toBe(200);
    expect(calls).toBe(1);
    expect(await post(to, { origin: "https://listed.example" })).toBe(200);
    expect(seen()).toEqual(["portcullis_store_unavailable function-rejected"]);
  });

  it("in report mode lets the request pass", async () => {
    const to = await start({ origins: inTable }, { mode: "report" });
    expect(await post(to, { origin: EVIL })).toBe(200);
    expect(await post(to, { origin: TENANT })).toBe(200);
    expect(seen()).toEqual(["malicious_cors unlisted-origin", "malicious_csrf origin-mismatch"]);
  });

  it("describe() says that a function decides beside the list", async () => {
    await start({ origins: inTable }, { trustedOrigins: ["https://listed.example"] });
    expect(security?.describe().find(({ id }) => id === "csrf")?.settings).toMatchObject({
      trustedOrigins: ["function", "https://listed.example"],
    });
  });
});
