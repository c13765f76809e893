import jwt from "jsonwebtoken";
import { describe, expect, it } from "vitest";
import { applySecurity, type SecurityEvent } from "portcullis";
import { EXPRESS } from "../support/express-versions.js";
import { serve } from "../support/serve.js";

const SECRET = "Yw3v9hQ2pX7rT5mK8sD1fG6jL4zB0nCq";
/** Shared with another service, which says what it likes in its tokens. */
const SHARED = "wJ8s7Yk2pQz4Nf6Vb1Xc3Mh5Lr9Tg0Ud";
/** What would begin a line, end a field, colour a terminal or turn text around. */
const HOSTILE = [
  "\n",
  "\r\n",
  "\u0000",
  "\t",
  "\u001b[2J",
  "\u0085",
  "\u2028",
  "\u2029",
  '"}\n{"event":"authn_login_success',
  "\\",
  "\ud800",
  "\u202e",
];

/** ASVS 5.0 V16.4.1: the sink of the README, JSON by lines. */
describe.each(EXPRESS)("one line of a log for one event on $name", ({ express }) => {
  it("is written whatever a caller puts into the path, a header, a body or a token of another issuer", async () => {
    const app = express();
    const security = applySecurity(app, {
      trustedHosts: ["127.0.0.1"],
      secretKey: SECRET,
      cors: { origins: ["https://app.example.com"] },
      session: {},
      apiKeys: { hash: "hmac-sha256" },
      jwt: { secret: SHARED },
      rateLimit: { limit: 10_000 },
    });
    const heard: SecurityEvent[] = [];
    let log = "";
    security.events.on("*", (event) => {
      heard.push(event);
      log += `${JSON.stringify(event)}\n`;
    });
    app.use("/api-keys", security.apiKeyRoutes());
    app.use("/tokens", security.tokenRoutes());
    app.use(security.requireAuth({ scopes: ["no:body"] }), (_req, res) => void res.end());
    await security.ready();
    const server = await serve(app);

    for (const text of HOSTILE) {
      const now = Math.floor(Date.now() / 1000);
      const claims = {
        iss: "portcullis",
        aud: "portcullis",
        sub: `ada${text}`,
        jti: `j${text}`,
        iat: now,
        exp: now + 60,
        scope: "read",
        roles: [`staff${text}`],
      };
      const token = jwt.sign(claims, SHARED, { header: { alg: "HS256", typ: "at+jwt" } });
      await server.send("/a", { headers: { authorization: `Bearer ${token}` } });
      await server.send(
        `/${encodeURIComponent(Buffer.from(text).toString("utf8"))}?${encodeURIComponent(Buffer.from(text).toString("utf8"))}`,
      );
      await server.send("/api-keys", {
        method: "POST",
        headers: { "content-type": "application/json", authorization: `Bearer ${token}` },
        body: JSON.stringify({ name: text, scopes: [text] }),
      });
      await server.send("/tokens/refresh", {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ refreshToken: text }),
      });
      // Bytes that no client would send: Node refuses some of them itself.
      for (const line of [
        "Origin: ",
        "X-API-Key: ",
        "Cookie: __Host-mcp_session=",
        "X-Forwarded-For: ",
        "Sec-Fetch-Site: ",
      ])
        await server.raw(
          Buffer.from(
            `POST /b${text.replaceAll(/[\r\n]/g, "")} HTTP/1.1\r\nHost: 127.0.0.1\r\n${line}${text}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`,
          ),
          1000,
        );
    }
    await server.close();
    await security.close();

    const lines = log.split("\n").slice(0, -1);
    expect(lines).toHaveLength(heard.length);
    expect(lines.map((line) => JSON.parse(line) as SecurityEvent)).toEqual(heard);
    // Every line separator that some reader knows, and every control character.
    expect(log.replaceAll("\n", "")).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/);
    // Some of it did arrive: a subject is what the issuer of the token says, and no rule of ours bends it.
    expect(
      heard.filter(({ subject }) => subject !== undefined && HOSTILE.some((text) => subject.endsWith(text))).length,
    ).toBeGreaterThan(0);
    expect(new Set(heard.map(({ event }) => event)).size).toBeGreaterThan(5);
  });
});
