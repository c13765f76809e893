import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { applySecurity, type Security } from "portcullis";
import { EXPRESS } from "../support/express-versions.js";
import { serve, type TestServer } from "../support/serve.js";

const SETTINGS = {
  trustedHosts: ["127.0.0.1"],
  secretKey: "Yw3v9hQ2pX7rT5mK8sD1fG6jL4zB0nCq",
  session: {},
  apiKeys: { hash: "hmac-sha256" as const },
  jwt: {},
};
const METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "PROPFIND"];

/** ASVS 5.0 V8.2.1: one guard before the routes, so that a route which nobody thought of is closed. */
describe.each(EXPRESS)("requireAuth before all routes on $name", ({ express }) => {
  let server: TestServer;
  let security: Security<typeof SETTINGS>;
  const reached: string[] = [];

  beforeAll(async () => {
    const app = express();
    security = applySecurity(app, SETTINGS);
    app.get("/public", (_req, res) => void res.send("for all"));
    app.use(security.requireAuth());
    app.get("/admin", security.requireAuth({ roles: ["admin"] }), (_req, res) => void res.send("for admins"));
    app.use((req, res) => {
      reached.push(`${req.method} ${req.path}`);
      res.send("forgotten");
    });
    await security.ready();
    server = await serve(app);
  });
  afterAll(async () => {
    await server.close();
    await security.close();
  });

  it.each(METHODS)(
    "refuses %s of a route that has no guard of its own, and of one that does not exist",
    async (method) => {
      for (const path of ["/forgotten", "/admin", "/no/such", "//public", "/public/../forgotten", "/PUBLICx"]) {
        expect([path, (await server.send(path, { method })).status]).toEqual([path, 401]);
      }
      expect(reached).toEqual([]);
    },
  );

  it("lets through routes that stand before it, and callers with a valid credential", async () => {
    expect((await server.send("/public")).text).toBe("for all");
    const { key } = await security.apiKeys.create({ ownerId: "ada", name: "k" });
    const { accessToken } = await security.jwt.issue("ada", { roles: ["admin"] });
    expect((await server.send("/forgotten", { headers: { "x-api-key": key } })).text).toBe("forgotten");
    expect((await server.send("/admin", { headers: { authorization: `Bearer ${accessToken}` } })).text).toBe(
      "for admins",
    );
  });

  it("does not let a caller through to a route that requires more", async () => {
    const { key } = await security.apiKeys.create({ ownerId: "ada", name: "k" });
    const { accessToken } = await security.jwt.issue("ada", { scopes: ["admin"], roles: ["user"] });
    const proofs: Record<string, string>[] = [{ "x-api-key": key }, { authorization: `Bearer ${accessToken}` }];
    for (const headers of proofs) expect((await server.send("/admin", { headers })).status).toBe(403);
  });
});
