import type { Request, Response } from "express";
import { afterEach, describe, expect, it } from "vitest";
import { applySecurity, corsPolicy } from "../../src/index.js";
import { EXPRESS } from "../support/express-versions.js";
import { type Answer, serve, type TestServer } from "../support/serve.js";
import { corsHeaders } from "./cors-app.js";

const A = "https://app.example.com";
const B = "https://other.example.net";
const EXPOSED = { "access-control-expose-headers": "RateLimit,RateLimit-Policy,Retry-After" };
const answer = (_req: Request, res: Response): void => void res.send("x");

describe.each(EXPRESS)("two policies on one request, $name", ({ express }) => {
  let server: TestServer | undefined;
  afterEach(() => server?.close());
  const ask = async (path: string, origin: string): Promise<Answer> =>
    (server as TestServer).send(path, { headers: { origin } });

  it("a looser policy of a route withdraws the credentials of the app's policy", async () => {
    const app = express();
    app.use(corsPolicy({ origins: [A], credentials: true }));
    app.use("/widget", corsPolicy({ origins: "*" }), answer);
    app.use(answer);
    server = await serve(app);
    for (const origin of [A, B])
      expect(corsHeaders(await ask("/widget", origin))).toEqual({
        "access-control-allow-origin": "*",
        vary: "Origin",
        ...EXPOSED,
      });
    expect(corsHeaders(await ask("/", A))).toEqual({
      "access-control-allow-origin": A,
      "access-control-allow-credentials": "true",
      vary: "Origin",
      ...EXPOSED,
    });
    expect(corsHeaders(await ask("/", B))).toEqual({ vary: "Origin" });
  });

  it("a stricter policy of a route withdraws the * of the app's policy", async () => {
    const app = express();
    app.use(corsPolicy({ origins: "*" }));
    app.use("/me", corsPolicy({ origins: [A], credentials: true, exposedHeaders: ["ETag"] }), answer);
    server = await serve(app);
    expect(corsHeaders(await ask("/me", A))).toEqual({
      "access-control-allow-origin": A,
      "access-control-allow-credentials": "true",
      "access-control-expose-headers": "ETag",
      vary: "Origin",
    });
    expect(corsHeaders(await ask("/me", B))).toEqual({ vary: "Origin" });
    expect(corsHeaders(await server.send("/me"))).toEqual({ vary: "Origin" });
  });

  it("the same holds behind applySecurity, and one policy mounted twice acts once", async () => {
    const app = express();
    const security = applySecurity(app, { trustedHosts: ["127.0.0.1"], cors: { origins: [A], credentials: true } });
    const lax = corsPolicy({ origins: "*" });
    app.use("/widget", lax, lax, answer);
    app.use("/twice", corsPolicy({ origins: [A], credentials: true }), answer);
    app.use(answer);
    server = await serve(app);
    expect(corsHeaders(await ask("/widget", B))).toEqual({
      "access-control-allow-origin": "*",
      vary: "Origin",
      ...EXPOSED,
    });
    expect(corsHeaders(await ask("/twice", A))).toEqual(corsHeaders(await ask("/", A)));
    expect(corsHeaders(await ask("/twice", B))).toEqual({ vary: "Origin" });
    await security.close();
  });

  it.each(["draft-8", "draft-6", "legacy", false] as const)(
    "a page may read the rate limit headers in the form that is sent: %s",
    async (form) => {
      const app = express();
      const security = applySecurity(app, {
        trustedHosts: ["127.0.0.1"],
        cors: { origins: [A] },
        rateLimit: { headers: form, limit: 1 },
      });
      app.use(answer);
      server = await serve(app);
      await ask("/", A);
      const limited = await ask("/", A);
      const sent = Object.keys(limited.headers).filter((name) => /ratelimit|retry-after/.test(name));
      expect(limited.status).toBe(429);
      expect(String(limited.headers["access-control-expose-headers"]).toLowerCase().split(",").sort()).toEqual(
        sent.sort(),
      );
      await security.close();
    },
  );
});
