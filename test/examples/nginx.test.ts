import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Certificates, makeCertificates } from "../support/servers/certificates.js";
import type { RunningServer } from "../support/servers/process.js";
import { type HttpsRequest, sendHttps, startNginx } from "./support/nginx.js";
import { blockWith, Sample } from "./support/sample.js";

const PAGE = "examples/recipes/behind-a-proxy.md";
const HOST = "app.example.com";

let certificates: Certificates;
let app: Sample;
let nginx: RunningServer;

/** The configuration and the app of the page, on free ports. */
beforeAll(async () => {
  app = await Sample.start(blockWith(PAGE, "ts", "// nginx"));
  certificates = makeCertificates(`DNS:${HOST}`);
  nginx = await startNginx(blockWith(PAGE, "nginx", "proxy_pass"), app, certificates);
});

afterAll(async () => {
  await Promise.all([nginx.close(), app.close()]);
  certificates.remove();
});

const send = (path: string, { host = HOST, ...options }: HttpsRequest & { host?: string } = {}) =>
  sendHttps(nginx, HOST, certificates, path, {
    ...options,
    headers: { Host: `${host}:${nginx.port}`, ...options.headers },
  });

describe("the app of the page behind nginx with its configuration", () => {
  it("sees the client's address and https", async () => {
    const answer = await send("/");
    expect([answer.status, JSON.parse(answer.text)]).toEqual([200, { address: "127.0.0.1", secure: true }]);
    expect(answer.headers["strict-transport-security"]).toContain("max-age");
  });

  it("is not deceived by the X-Forwarded-* headers of a client", async () => {
    const headers = {
      "X-Forwarded-For": "203.0.113.9",
      "X-Forwarded-Proto": "http",
      "X-Forwarded-Host": "evil.example",
    };
    const answer = await send("/", { headers });
    expect([answer.status, JSON.parse(answer.text)]).toEqual([200, { address: "127.0.0.1", secure: true }]);
  });

  it("refuses a host that is not listed", async () => {
    expect((await send("/", { host: "evil.example" })).status).toBe(400);
    expect((await send("/")).status).toBe(200);
  });

  it("accepts the POST of its own page on a port other than 443, and refuses one of another page", async () => {
    const post = (origin: string) => send("/log-in", { method: "POST", headers: { Origin: origin } });
    const own = await post(`https://${HOST}:${nginx.port}`);
    expect(own.status).toBe(204);
    expect(String(own.headers["set-cookie"])).toMatch(/^__Host-mcp_session=.*; Secure/);
    expect((await post("https://evil.example")).status).toBe(403);
    expect((await post(`http://${HOST}:${nginx.port}`)).status).toBe(403);
  });
});
