import { inspect } from "node:util";
import { describe, expect, it } from "vitest";
import { applySecurity, SetupError, type SecurityEvent, type SecuritySettings } from "portcullis";
import { EXPRESS } from "../support/express-versions.js";
import { serve } from "../support/serve.js";

const SECRET = "k3Vt9sQfYb2LxWn8RzGj5HdPm7CuTa4E";
const everything: SecuritySettings & { session: object; apiKeys: object; jwt: object } = {
  secretKey: SECRET,
  debug: true,
  cors: { origins: ["https://app.example.com"] },
  rateLimit: { perPrincipal: { limit: 1000, windowSeconds: 60 } },
  session: {},
  apiKeys: { hash: "hmac-sha256" },
  jwt: {},
  database: "sqlite::memory:",
};

describe.each(EXPRESS)("applySecurity on $name", ({ express }) => {
  it("mounts one named layer in which the protections run in the order of the table", async () => {
    const app = express();
    const security = applySecurity(app, everything);
    expect(security.describe().map(({ id, order }) => `${order} ${id}`)).toEqual([
      "100 context",
      "200 headers",
      "300 trusted-host",
      "400 cors",
      "500 rate-limit",
      "600 csrf",
      "700 session",
      "800 api-key",
      "900 jwt",
      "1000 principal-rate-limit",
    ]);
    const inside = app as unknown as {
      lazyrouter?: unknown;
      _router: { stack: { name: string }[] };
      router: { stack: { name: string }[] };
    };
    const stack = typeof inside.lazyrouter === "function" ? inside._router.stack : inside.router.stack;
    expect(stack.map(({ name }) => name).filter((name) => !["query", "expressInit"].includes(name))).toEqual([
      "portcullis",
    ]);
    await security.close();
  });

  it("omits protections that are off", () => {
    const security = applySecurity(express(), { trustedHosts: ["a.example"], headers: false, rateLimit: false });
    expect(security.describe().map(({ id }) => id)).toEqual(["context", "trusted-host"]);
    expect("apiKeys" in security).toBe(false);
    expect("jwt" in security).toBe(false);
  });

  it("refuses to come after routes, and names them", () => {
    const app = express();
    app.get("/early", (_req, res) => void res.send());
    const router = express.Router();
    router.post("/inner", (_req, res) => void res.send());
    app.use("/sub", router);
    expect(() => applySecurity(app, { debug: true })).toThrowError(/GET \/early, POST \/inner/);
    expect(() => applySecurity(app, { debug: true })).toThrow(SetupError);
  });

  it("refuses a mounted app before it, allows plain middleware", () => {
    const app = express();
    app.use(express());
    expect(() => applySecurity(app, { debug: true })).toThrow(SetupError);
    const other = express();
    other.use((_req, _res, next) => next());
    expect(() => applySecurity(other, { debug: true })).not.toThrow();
  });

  it("refuses a router that is mounted before it and filled after it", () => {
    const app = express();
    app.use("/api", express.Router());
    expect(() => applySecurity(app, { debug: true })).toThrow(/a mounted router without routes yet/);
  });

  it("can be called again after a call that failed", () => {
    const app = express();
    const settings: SecuritySettings = { debug: true, apiKeys: {} };
    expect(() =>
      applySecurity(app, settings, {
        clock: {
          now: Date.now,
          monotonic: () => {
            throw new Error("no clock");
          },
        },
      }),
    ).toThrow("no clock");
    expect(() => applySecurity(app, settings)).not.toThrow();
  });

  it("refuses to be called twice on one app", () => {
    const app = express();
    applySecurity(app, { debug: true });
    expect(() => applySecurity(app, { debug: true })).toThrow(/twice/);
  });

  it("refuses an app that sets trust proxy itself, unless trustProxy replaces it", () => {
    const app = express();
    app.set("trust proxy", 1);
    expect(() => applySecurity(app, { debug: true })).toThrow(/trustProxy: 1/);
    expect(() => applySecurity(app, { debug: true, trustProxy: 2 })).not.toThrow();
    expect(app.get("trust proxy")).toBe(2);
  });

  it("refuses a value that is not an app", () => {
    expect(() => applySecurity({} as never, { debug: true })).toThrow(SetupError);
  });

  it("names the missing setting when a part that is off is used", async () => {
    const security = applySecurity(express(), { debug: true });
    expect(() => security.apiKeyRoutes()).toThrow(/apiKeys/);
    expect(() => security.tokenRoutes()).toThrow(/jwt/);
    await expect(security.logIn({} as never, { id: "a" })).rejects.toThrow(/session/);
  });

  it("shows no secret in describe(), settings, inspect or errors", () => {
    const security = applySecurity(express(), {
      ...everything,
      jwt: { secret: "Zq8mW3xC6vB9nL2kJ5hG7fD4sA1pO0iUyTrE" },
    });
    const shown = [
      JSON.stringify(security.describe()),
      JSON.stringify(security.settings),
      inspect(security, { depth: 12, showHidden: true }),
    ].join();
    expect(shown).not.toContain(SECRET);
    expect(shown).not.toContain("Zq8mW3xC6vB9nL2kJ5hG7fD4sA1pO0iUyTrE");
    expect(shown).toContain("[secret]");
  });

  it("describe() is JSON, and the same each time", () => {
    const security = applySecurity(express(), everything);
    expect(JSON.parse(JSON.stringify(security.describe()))).toEqual(JSON.parse(JSON.stringify(security.describe())));
  });

  it("neither retains nor changes the caller's object", () => {
    const settings = structuredClone(everything);
    const before = JSON.stringify(settings);
    const security = applySecurity(express(), settings);
    const described = JSON.stringify(security.describe());
    (settings.cors as { origins: string[] }).origins.push("https://late.example");
    expect(JSON.stringify(security.describe())).toBe(described);
    (settings.cors as { origins: string[] }).origins.pop();
    expect(JSON.stringify(settings)).toBe(before);
  });

  it("reports its start and end, and close() may be called twice", async () => {
    const security = applySecurity(express(), everything);
    const events: SecurityEvent[] = [];
    security.events.on("*", (event) => events.push(event));
    await Promise.all([security.ready(), security.ready()]);
    await Promise.all([security.close(), security.close()]);
    expect(events.map(({ event }) => event)).toEqual(["sys_startup", "sys_shutdown"]);
  });

  it("warns once what memory loses on restart, except in debug or with a database", async () => {
    const warnings: string[] = [];
    const listen = (warning: Error & { code?: string }) =>
      warning.code === "PORTCULLIS_MEMORY" && warnings.push(warning.message);
    process.on("warning", listen);
    const security = applySecurity(express(), { secretKey: SECRET, trustedHosts: ["a.example"], apiKeys: {}, jwt: {} });
    applySecurity(express(), { secretKey: SECRET, debug: true, apiKeys: {} });
    await new Promise((resolve) => setTimeout(resolve, 20));
    process.off("warning", listen);
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toContain("api-key (all API keys)");
    expect(security.describe().find(({ id }) => id === "jwt")?.lostOnRestart).toContain("revoked");
    await security.close();
  });

  it("warns when a cookie of other sites' requests meets a csrf that only reports", async () => {
    const warnings: string[] = [];
    const listen = (warning: Error & { code?: string }) =>
      warning.code === "PORTCULLIS_CSRF" && warnings.push(warning.message);
    process.on("warning", listen);
    const common = { secretKey: SECRET, trustedHosts: ["a.example"] };
    for (const [sameSite, mode] of [
      ["none", "enforce"],
      ["lax", "report"],
      ["none", "report"],
    ] as const)
      applySecurity(express(), { ...common, session: { sameSite }, csrf: { mode } });
    await new Promise((resolve) => setTimeout(resolve, 20));
    process.off("warning", listen);
    expect(warnings).toEqual([expect.stringContaining("SameSite=None")]);
  });

  it("describe() says which database keeps what", async () => {
    const security = applySecurity(express(), everything);
    await security.ready();
    const kept = Object.fromEntries(
      security.describe().flatMap(({ id, database }) => (database === undefined ? [] : [[id, database]])),
    );
    const database = { engine: "sqlite", location: ":memory:", driver: expect.any(String) as string };
    expect(kept).toEqual({ "api-key": database, jwt: database });
    expect(security.describe().find(({ id }) => id === "session")?.lostOnRestart).toContain("log in again");
    await security.close();
  });

  it("warns of stores that cannot be opened when ready() is not awaited, and makes ready() reject otherwise", async () => {
    const warnings: string[] = [];
    const listen = (warning: Error & { code?: string }) =>
      warning.code === "PORTCULLIS_STORES" && warnings.push(warning.message);
    process.on("warning", listen);
    const broken = { debug: true, apiKeys: {}, database: "sqlite:/no/such/folder/x.db" };
    const awaited = applySecurity(express(), broken);
    await expect(awaited.ready()).rejects.toThrow(/no\/such\/folder|folder|directory|open/);
    const forgotten = applySecurity(express(), broken);
    for (let i = 0; i < 100 && warnings.length === 0; i += 1) await new Promise((resolve) => setTimeout(resolve, 10));
    process.off("warning", listen);
    expect(warnings).toEqual([
      expect.stringContaining("The stores could not be opened, and the app did not call ready(): "),
    ]);
    await Promise.all([awaited.close(), forgotten.close()]);
  });

  it("sets one principal, whatever the credential, and never two at once", async () => {
    const app = express();
    const security = applySecurity(app, everything);
    app.post("/login", async (req, res) => {
      await security.logIn(req, { id: "ada", scopes: ["read"], roles: ["admin"] });
      res.json(req.principal);
    });
    app.get("/who", security.requireAuth(), (req, res) => void res.json(req.principal));
    await security.ready();
    const server = await serve(app);
    const { key, record } = await security.apiKeys.create({
      ownerId: "ada",
      name: "k",
      scopes: ["read"],
      roles: ["admin"],
    });
    const { accessToken } = await security.jwt.issue("ada", { scopes: ["read"], roles: ["admin"] });
    const login = await server.send("/login", { method: "POST" });
    const cookie = String(login.headers["set-cookie"]?.[0]?.split(";")[0]);

    const who = async (headers: Record<string, string>) => (await server.send("/who", { headers })).json();
    const same = {
      id: "ada",
      scopes: ["read"],
      roles: ["admin"],
      credentialId: expect.any(String) as string,
      claims: {},
      authenticatedAt: expect.any(Number) as number,
      methods: [],
    };
    const at = record.createdAt;
    const byKey = { ...same, kind: "api-key", authenticatedAt: at, methods: [{ method: "key", at }] };
    expect(await who({ "X-API-Key": key })).toEqual({ ...byKey, credentialId: record.id });
    expect(await who({ Authorization: `Bearer ${key}` })).toEqual(byKey);
    const claims = await security.jwt.verifyAccessToken(accessToken);
    const auth = { authenticatedAt: same.authenticatedAt, methods: [{ method: "token", at: same.authenticatedAt }] };
    expect(await who({ Authorization: `Bearer ${accessToken}` })).toEqual({ ...same, ...auth, kind: "jwt", claims });
    expect(await who({ Cookie: cookie })).toEqual({ ...same, kind: "session" });
    const pairs: Record<string, string>[] = [
      { "X-API-Key": key, Authorization: `Bearer ${accessToken}` },
      { "X-API-Key": key, Authorization: `Bearer ${key}` },
      { "X-API-Key": key, Cookie: cookie },
      { Authorization: `Bearer ${accessToken}`, Cookie: cookie },
    ];
    for (const headers of pairs)
      expect(await who(headers)).toMatchObject({ code: "ambiguous-credentials", status: 400 });
    expect(await who({})).toMatchObject({ code: "missing-credentials" });
    await server.close();
    await security.close();
  });

  it("lets requests pass a layer in report mode, and reports them", async () => {
    const app = express();
    const security = applySecurity(app, {
      trustedHosts: { hosts: ["a.example"], mode: "report" },
      rateLimit: { limit: 1, mode: "report" },
    });
    const events: string[] = [];
    security.events.on("*", ({ event, mode }) => events.push(`${event} ${mode}`));
    app.get("/", (_req, res) => void res.send("reached"));
    const server = await serve(app);
    expect((await server.send("/")).text).toBe("reached");
    expect((await server.send("/")).text).toBe("reached");
    expect(events).toEqual([
      "portcullis_untrusted_host report",
      "portcullis_untrusted_host report",
      "excess_rate_limit_exceeded report",
    ]);
    await server.close();
    await security.close();
  });
});
