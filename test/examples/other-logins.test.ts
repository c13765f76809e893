import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { postgresDatabase, postgresQuery } from "../support/servers.js";
import { type Certificates, makeCertificates } from "../support/servers/certificates.js";
import type { RunningServer } from "../support/servers/process.js";
import { type HttpsRequest, sendHttps, startNginx } from "./support/nginx.js";
import { blockWith, Sample } from "./support/sample.js";

const PAGE = "examples/recipes/other-logins.md";
const HOST = "app.example.com";

const open: Sample[] = [];
afterEach(async () => {
  for (const sample of open.splice(0)) await sample.close();
});
async function start(text: string, env: Record<string, string> = {}): Promise<Sample> {
  const sample = await Sample.start(blockWith(PAGE, "ts", text), env);
  open.push(sample);
  return sample;
}

describe("the sample with Passport", () => {
  const form = (password: string) => ({
    method: "POST",
    headers: { "Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin" },
    body: new URLSearchParams({ username: "ada", password }).toString(),
  });

  it.each([
    ["that calls logIn", "{ session: false }", { id: "42", roles: ["member"] }],
    ["that keeps passport.session()", "passport.session()", { id: "42", kind: "external" }],
  ])("%s logs in with the right password only, and out again", async (_name, text, principal) => {
    const app = await start(text);
    const wrong = await app.send(HOST, "/log-in", form("wrong"));
    expect([wrong.status, wrong.cookie]).toEqual([401, ""]);

    const login = await app.send(HOST, "/log-in", form("correct horse"));
    expect([Math.floor(login.status / 100), login.headers.location]).toEqual([3, "/"]);
    const mine = { headers: { Cookie: login.cookie } };
    const page = await app.send(HOST, "/", mine);
    expect([page.status, JSON.parse(page.text)]).toEqual([200, principal]);
    expect((await app.send(HOST, "/")).status).toBe(401);

    const forged = { method: "POST", headers: { ...mine.headers, "Sec-Fetch-Site": "cross-site" } };
    expect((await app.send(HOST, "/log-out", forged)).status).toBe(403);
    expect((await app.send(HOST, "/", mine)).status).toBe(200);
    await app.send(HOST, "/log-out", { ...forged, headers: { ...mine.headers, "Sec-Fetch-Site": "same-origin" } });
    expect((await app.send(HOST, "/", mine)).status).toBe(401);
  });

  it.each(["{ session: false }", "passport.session()"])("gives a log-in a new session id: %s", async (text) => {
    const app = await start(text);
    const first = (await app.send(HOST, "/log-in", form("correct horse"))).cookie;
    const again = form("correct horse");
    const second = await app.send(HOST, "/log-in", { ...again, headers: { ...again.headers, Cookie: first } });
    expect(second.cookie).not.toBe("");
    expect(second.cookie).not.toBe(first);
    expect((await app.send(HOST, "/", { headers: { Cookie: first } })).status).toBe(401);
    expect((await app.send(HOST, "/", { headers: { Cookie: second.cookie } })).status).toBe(200);
  });
});

describe("the sample with connect-pg-simple, on PostgreSQL", () => {
  it("keeps a session over a restart, until its log-out, and ends at SIGTERM", { timeout: 60_000 }, async () => {
    const DATABASE_URL = await postgresDatabase();
    const rows = () => postgresQuery(DATABASE_URL, "select sid, sess from session");
    const first = await start("connect-pg-simple", { DATABASE_URL });
    const login = await first.send(HOST, "/log-in", { method: "POST" });
    expect(login.status).toBe(204);
    expect(await rows()).toHaveLength(1);
    first.child.kill("SIGTERM");
    expect(await first.ended).toBe(0);

    const second = await start("connect-pg-simple", { DATABASE_URL });
    const mine = { headers: { Cookie: login.cookie } };
    expect((await second.send(HOST, "/", mine)).text).toBe('{"id":"ada"}');
    expect((await second.send(HOST, "/log-out", { method: "POST", ...mine })).status).toBe(204);
    expect(await rows()).toEqual([]);
    expect((await second.send(HOST, "/", mine)).status).toBe(401);
  });
});

describe("the sample behind an nginx that checks client certificates", () => {
  const INTERNAL = "internal.example.com";
  let certificates: Certificates;
  let strangers: Certificates;
  let app: Sample;
  let nginx: RunningServer;
  let client: { cert: string; key: string };
  beforeAll(async () => {
    certificates = makeCertificates(`DNS:${INTERNAL}`);
    strangers = makeCertificates(`DNS:${INTERNAL}`);
    client = clientOf(certificates);
    app = await Sample.start(blockWith(PAGE, "ts", "X-Client-Name"));
    nginx = await startNginx(blockWith(PAGE, "nginx", "ssl_verify_client"), app, certificates);
  });
  afterAll(async () => {
    await Promise.all([nginx.close(), app.close()]);
    for (const one of [certificates, strangers]) one.remove();
  });
  const send = (path: string, options: HttpsRequest = {}) => sendHttps(nginx, INTERNAL, certificates, path, options);

  /** A client's certificate of the authority, beside its other files. */
  function clientOf({ ca }: Certificates): { cert: string; key: string } {
    const folder = join(ca, "..");
    const openssl = (line: string) => void execFileSync("openssl", line.split(" "), { cwd: folder, stdio: "ignore" });
    openssl(
      "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=reports -keyout client.key -out client.csr",
    );
    openssl("x509 -req -in client.csr -CA ca.crt -CAkey ca.key -set_serial 3 -days 1 -out client.crt");
    return { cert: join(folder, "client.crt"), key: join(folder, "client.key") };
  }

  it("knows a client by its certificate, and nobody by a header that a client sends", async () => {
    const known = await send("/reports", { client });
    expect([known.status, known.text]).toEqual([200, '{"for":"CN=reports"}']);
    const forged = { headers: { "X-Client-Name": "CN=admin" } };
    expect((await send("/reports", forged)).status).toBe(401);
    expect((await send("/reports", { client, ...forged })).text).toBe('{"for":"CN=reports"}');
  });

  it("refuses the certificate of another authority", async () => {
    const answer = await send("/reports", { client: clientOf(strangers) });
    expect(answer.status).toBe(400);
    expect(answer.text).toContain("SSL certificate error");
  });

  it("refuses what another site makes the client's browser send", async () => {
    const post = (site: string) =>
      send("/reports", { client, method: "POST", headers: { "Sec-Fetch-Site": site } }).then(({ status }) => status);
    expect([await post("cross-site"), await post("same-origin")]).toEqual([403, 204]);
  });
});
