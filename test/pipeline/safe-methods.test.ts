import { describe, expect, it } from "vitest";
import { applySecurity } from "portcullis";
import { EXPRESS } from "../support/express-versions.js";
import { serve } from "../support/serve.js";

describe.each(EXPRESS)("safe methods on $name", ({ express }) => {
  it.each(["GET", "HEAD", "OPTIONS"])("%s of the key and token routes changes nothing", async (method) => {
    const app = express();
    const security = applySecurity(app, {
      trustedHosts: ["127.0.0.1"],
      secretKey: "Yw3v9hQ2pX7rT5mK8sD1fG6jL4zB0nCq",
      session: {},
      apiKeys: {},
      jwt: {},
    });
    app.use("/api-keys", security.apiKeyRoutes());
    app.use("/tokens", security.tokenRoutes());
    const server = await serve(app);
    await security.ready();
    const { key, record } = await security.apiKeys.create({ ownerId: "ada", name: "ci", scopes: ["api-keys:manage"] });
    const { accessToken, refreshToken } = await security.jwt.issue("ada");
    const headers = { "x-api-key": key, "content-type": "application/json" };
    for (const path of [
      `/api-keys/${record.id}/rotate`,
      "/tokens/refresh",
      "/tokens/revoke",
      `/tokens/refresh?refreshToken=${refreshToken}`,
    ]) {
      const { status } = await server.send(path, {
        method,
        headers,
        body: JSON.stringify({ refreshToken, token: accessToken, graceSeconds: 0 }),
      });
      expect([path, status]).toEqual([path, method === "OPTIONS" ? 200 : 404]);
    }
    await server.send(`/api-keys/${record.id}`, { method, headers });
    await server.send("/api-keys", { method, headers });

    expect(await security.apiKeys.list("ada")).toHaveLength(1);
    expect(await security.apiKeys.verify(key)).toMatchObject({ ok: true });
    expect(await security.jwt.verifyAccessToken(accessToken)).toMatchObject({ sub: "ada" });
    const next = await security.jwt.refresh(refreshToken);
    expect(await security.jwt.refresh(next.refreshToken)).toMatchObject({ tokenType: "Bearer" });
    await server.close();
    await security.close();
  });
});
