import { sign } from "cookie-signature";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parseSettings } from "portcullis";
import { ROOT } from "../support/code-blocks.js";
import { blockWith, Sample } from "./support/sample.js";

const PAGE = "examples/recipes/migration.md";
const HOST = "api.example.com";

describe("the app of the migration page, before and after", () => {
  const apps: Record<"before" | "after", Sample> = {} as never;
  beforeAll(async () => {
    apps.before = await Sample.start(blockWith(PAGE, "js", "helmet()"));
    apps.after = await Sample.start(blockWith(PAGE, "ts", "rateLimit: { limit: 100"));
  });
  afterAll(async () => {
    for (const app of Object.values(apps)) await app.close();
  });

  it.each(["before", "after"] as const)("%s: gives the same answers to the same clients", async (which) => {
    const app = apps[which];
    const anonymous = await app.send(HOST, "/orders");
    expect(anonymous.status).toBe(401);

    const login = await app.send(HOST, "/log-in", { method: "POST" });
    const { token } = JSON.parse(login.text) as { token: string };
    const Origin = "https://app.example.com";
    const withCookie = await app.send(HOST, "/orders", { headers: { Cookie: login.cookie, Origin } });
    const withToken = await app.send(HOST, "/orders", { headers: { Authorization: `Bearer ${token}` } });
    expect([withCookie.text, withToken.text]).toEqual(['{"for":"ada"}', '{"for":"ada"}']);

    expect(withCookie.headers).toMatchObject({
      "access-control-allow-origin": Origin,
      "access-control-allow-credentials": "true",
      "x-content-type-options": "nosniff",
      "content-security-policy": expect.stringContaining("default-src 'self'"),
    });
    expect(withCookie.headers).not.toHaveProperty("x-powered-by");
    const preflight = await app.send(HOST, "/orders", {
      method: "OPTIONS",
      headers: { Origin, "Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "Authorization" },
    });
    expect([preflight.status, preflight.headers["access-control-allow-origin"]]).toEqual([204, Origin]);

    // Four requests were counted up to here, and no preflight.
    const statuses: number[] = [];
    for (let count = 4; count < 101; count += 1) statuses.push((await app.send(HOST, "/orders")).status);
    expect([statuses.at(-2), statuses.at(-1)]).toEqual([401, 429]);
  });

  it("after: refuses what the page says is new", async () => {
    const app = await Sample.start(blockWith(PAGE, "ts", "rateLimit: { limit: 100"));
    try {
      expect((await app.send("evil.example", "/orders")).status).toBe(400);
      const headers = { Origin: "https://evil.example" };
      expect((await app.send(HOST, "/log-in", { method: "POST", headers })).status).toBe(403);
      expect((await app.send(HOST, "/log-in", { method: "POST" })).status).toBe(200);
    } finally {
      await app.close();
    }
  });
});

describe("the sessions of the migration page", () => {
  const STORE = "const store = new session.MemoryStore();";
  const DATA = {
    cookie: { originalMaxAge: 3_600_000, expires: new Date(Date.now() + 3_600_000) },
    user: { id: "ada" },
  };
  const cookie = (id: string) => `connect.sid=${encodeURIComponent(`s:${sign(id, "keyboard cat")}`)}`;

  it("go on logged in, under a new id; a session without a user, and no session, stay anonymous", async () => {
    const anonymous = { cookie: DATA.cookie };
    const code = blockWith(PAGE, "ts", "migrateFrom:").replace(
      STORE,
      `${STORE} store.sessions = ${JSON.stringify({ old: JSON.stringify(DATA), anonymous: JSON.stringify(anonymous) })};`,
    );
    expect(code).toContain("store.sessions");
    const app = await Sample.start(code);
    try {
      const me = (Cookie: string) => app.send(HOST, "/me", { headers: { Cookie } });
      const first = await me(cookie("old"));
      expect([first.status, first.text]).toEqual([200, '{"id":"ada"}']);
      expect(first.cookie).toContain("__Host-mcp_session=");
      const second = await me(first.cookie);
      expect([second.status, second.text]).toEqual([200, '{"id":"ada"}']);
      expect((await me(cookie("anonymous"))).status).toBe(401);
      expect((await me(cookie("unknown"))).status).toBe(401);
      expect((await app.send(HOST, "/me")).status).toBe(401);
    } finally {
      await app.close();
    }
  });
});

describe("the table of the migration page", () => {
  const PROTECTIONS: Readonly<Record<string, string>> = {
    helmet: "headers",
    cors: "cors",
    "express-rate-limit": "rateLimit",
    "express-session": "session",
    jsonwebtoken: "jwt",
  };
  const base = { trustedHosts: [HOST], secretKey: "k3Vt9sQfYb2LxWn8RzGj5HdPm7CuTa4E" };

  let protection = "";
  const rows = readFileSync(join(ROOT, PAGE), "utf8")
    .split("## Option by option")[1]!
    .split("\n")
    .filter((line) => /^\| (?:`|\*\*)/.test(line))
    .map((line) => {
      const [, was = "", is = ""] = line.split(/ \| |^\| /);
      const section = /^\*\*([\w-]+)\*\* /.exec(was);
      protection = PROTECTIONS[section?.[1] ?? ""] ?? protection;
      const names = (text: string) => [...text.matchAll(/`([^`]+)`/g)].map(([, name = ""]) => name);
      return { protection, was: names(was), is: names(is) };
    });

  /** What the start says to a setting at a path. */
  function said(path: readonly string[], value: unknown): string {
    const settings = path.reduceRight<unknown>((inside, part) => ({ [part]: inside }), value);
    try {
      parseSettings({ ...base, ...(settings as object) });
      return "";
    } catch (error) {
      return (error as Error).message;
    }
  }

  it("has rows for every package", () => {
    expect(new Set(rows.map((row) => row.protection))).toEqual(new Set(Object.values(PROTECTIONS)));
    expect(rows.length).toBeGreaterThan(25);
  });

  it("names settings that exist", () => {
    const named = rows
      .flatMap(({ is }) => is)
      .map((text) => /^(headers|cors|rateLimit|session|jwt)\.(\w+)/.exec(text))
      .filter((match) => match !== null)
      .map(([, key = "", name = ""]) => [key, name] as const);
    expect(named.length).toBeGreaterThan(15);
    expect(named.filter(([key, name]) => said([key, name], {}).includes("There is no setting"))).toEqual([]);
  });

  it("answers an option that is left behind at the start, unless it is a setting here too", () => {
    const options = rows
      .flatMap(({ protection: key, was }) => was.map((text) => [key, text] as const))
      .filter(([, text]) => /^[\w.]+$/.test(text) && !text.startsWith("req."));
    expect(options.length).toBeGreaterThan(30);
    const silent = options.filter(([key, text]) => {
      const [name = ""] = text.split(".");
      const answer = said([key, name], {});
      const isSetting = !answer.includes("There is no setting");
      return !isSetting && !new RegExp(`${key}\\.${name}: There is no setting "${name}"\\. (?!Known:)`).test(answer);
    });
    expect(silent).toEqual([]);
  });
});
