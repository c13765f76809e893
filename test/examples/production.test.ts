import { get, Agent } from "node:http";
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, describe, expect, it } from "vitest";
import { freePort } from "../support/servers/process.js";
import { blockWith, Sample } from "./support/sample.js";

const HOST = "app.example.com";
const open: Sample[] = [];
afterEach(async () => {
  for (const sample of open.splice(0)) await sample.close();
});
async function start(code: string, env: Record<string, string> = {}): Promise<Sample> {
  const sample = await Sample.start(code, env);
  open.push(sample);
  return sample;
}
const blockOf = (page: string, text: string) => blockWith(`examples/recipes/${page}.md`, "ts", text);

describe("the sample of a shutdown", () => {
  /** The sample with a route that takes a while, which is what a shutdown is about. */
  const slow = (body: string) => {
    const [before = "", after = ""] = blockOf("production", "SIGTERM").split("const server =");
    return `${before}app.get("/slow", (_req, res) => setTimeout(() => ${body}, 1500));\napp.get("/", (_req, res) => res.send("hello"));\nconst server =${after}`;
  };

  it("lets the running request finish, closes idle connections and takes no new ones, and ends with 0", async () => {
    const app = await start(slow('res.send("done")'));
    const agent = new Agent({ keepAlive: true });
    const idle = await new Promise<string>((resolve, reject) => {
      const options = { host: "127.0.0.1", port: app.port, path: "/", agent, headers: { Host: HOST } };
      get(options, (res) => res.resume().once("end", () => resolve(res.headers.connection ?? ""))).once(
        "error",
        reject,
      );
    });
    expect(idle).toBe("keep-alive");

    const running = app.send(HOST, "/slow");
    await sleep(500);
    const signalled = Date.now();
    app.child.kill("SIGTERM");
    await sleep(200);
    await expect(app.send(HOST, "/")).rejects.toMatchObject({ code: "ECONNREFUSED" });
    expect(await running).toMatchObject({ status: 200, text: "done" });
    expect(await app.ended).toBe(0);
    expect(Date.now() - signalled).toBeLessThan(10_000);
    agent.destroy();
  });

  it("does not wait for ever for a request that never ends", async () => {
    const app = await start(slow("undefined").replace("20_000", "1000"));
    const stuck = connect(app.port, "127.0.0.1");
    stuck.on("error", () => undefined);
    stuck.write(`GET /slow HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`);
    await sleep(300);
    app.child.kill("SIGTERM");
    expect(await app.ended).toBe(0);
  });
});

describe("the sample with pino", () => {
  it("logs each event as one line of JSON in which no field occurs twice", async () => {
    const app = await start(blockOf("production", "pino()"));
    expect((await app.send("evil.example", "/?secret=1")).status).toBe(400);
    expect((await app.send(HOST, "/")).status).toBe(200);
    const lines = () =>
      app.output.split("\n").filter((line) => line.startsWith("{") && line.includes("portcullis_untrusted_host"));
    await expect.poll(lines).toHaveLength(1);
    const [line = ""] = lines();
    expect(JSON.parse(line)).toMatchObject({
      level: 40,
      msg: "portcullis_untrusted_host",
      event: "portcullis_untrusted_host",
      code: "untrusted-host",
      status: 400,
      path: "/",
    });
    const names = [...line.matchAll(/"(\w+)":/g)].map(([, name]) => name);
    expect(names).toEqual([...new Set(names)]);
    expect(line).not.toMatch(/secret|evil/);
  });
});

describe("the sample with prom-client", () => {
  it("counts events by name, source and reason", async () => {
    const METRICS_PORT = await freePort();
    const app = await start(blockOf("production", "prom-client"), { METRICS_PORT: String(METRICS_PORT) });
    for (let count = 0; count < 3; count += 1) await app.send("evil.example", "/");
    await app.send(HOST, "/");
    const metrics = await fetch(`http://127.0.0.1:${METRICS_PORT}/`);
    expect(metrics.headers.get("content-type")).toContain("text/plain");
    expect(await metrics.text()).toContain(
      'portcullis_events_total{event="portcullis_untrusted_host",source="trusted-host",reason="not-listed"} 3',
    );
  });
});

describe("the sample with a health check", () => {
  it("answers it for any host and outside the limit, and nothing else", async () => {
    const app = await start(blockOf("behind-a-proxy", "/healthz"));
    const instance = `10.0.0.5:${app.port}`;
    const statuses = new Set<number>();
    for (let count = 0; count < 120; count += 1) statuses.add((await app.send(instance, "/healthz")).status);
    expect([...statuses]).toEqual([200]);
    expect((await app.send(instance, "/")).status).toBe(400);
    for (let count = 0; count < 100; count += 1) await app.send(HOST, "/none");
    expect((await app.send(HOST, "/none")).status).toBe(429);
    expect((await app.send(instance, "/healthz")).status).toBe(200);
  });
});

describe("the sample with error pages", () => {
  it("gives browsers the app's pages, without details, and programs JSON", async () => {
    const app = await start(blockOf("error-pages", "onRefusal"));
    const as = (accept: string) => (path: string) => app.send(HOST, path, { headers: { Accept: accept } });
    const browser = as("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8");
    const program = as("application/json");

    const account = await browser("/account");
    expect([account.status, account.headers.location]).toEqual([303, "/log-in?returnTo=%2Faccount"]);
    for (const [path, status, title] of [
      ["/admin", 401, "Credentials required"],
      ["/none", 404, "Not Found"],
      ["/broken", 500, "Something went wrong"],
    ] as const) {
      const page = await browser(path);
      expect([page.status, page.text]).toEqual([status, expect.stringContaining(`<h1>${status}: ${title}</h1>`)]);
      expect(page.headers["content-type"]).toBe("text/html; charset=utf-8");
      expect(page.headers["content-security-policy"]).toContain("script-src 'self'");
      expect(page.text).not.toMatch(/hunter2|<script/);
      const data = await program(path);
      expect([data.status, (JSON.parse(data.text) as { status: number }).status]).toEqual([status, status]);
      expect(data.headers["content-type"]).toMatch(/^application\/(problem\+)?json/);
    }
    expect((await browser("/account")).headers["x-content-type-options"]).toBe("nosniff");

    let limited = await browser("/none");
    for (let count = 0; count < 20 && limited.status !== 429; count += 1) limited = await browser("/none");
    expect([limited.status, limited.text]).toEqual([429, expect.stringContaining("<h1>429: ")]);
    expect(limited.headers["retry-after"]).toBeDefined();
  });
});
