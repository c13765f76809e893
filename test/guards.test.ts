import { describe, expect, it } from "vitest";
import type { RequestHandler } from "express";
import type { LayerId } from "../src/core/layer-id.js";
import { createPrincipal, type CredentialKind, type Principal } from "../src/core/principal.js";
import { beginState, stateOf } from "../src/core/request-state.js";
import { createRuntime } from "../src/core/runtime.js";
import { decideGuard, requireApiKey, requireAuth, requireJwt, requireSession } from "../src/guards.js";
import { SettingsError } from "../src/settings/errors.js";
import { EXPRESS } from "./support/express-versions.js";
import { serve } from "./support/serve.js";

const principal = (kind: CredentialKind, scopes: string[] = [], roles: string[] = []): Principal =>
  createPrincipal({ id: "ada", kind, scopes, roles, credentialId: "c1" });
const any = { kinds: ["api-key", "jwt", "session"] as const, scopes: [], roles: [] };

describe("decideGuard", () => {
  // Each refusal and its allowed twin, which differs in one field.
  it.each([
    ["nobody", undefined, any, "missing"],
    ["somebody", principal("jwt"), any, "pass"],
    ["another kind", principal("session"), { ...any, kinds: ["jwt"] as const }, "other-kind"],
    ["that kind", principal("jwt"), { ...any, kinds: ["jwt"] as const }, "pass"],
    ["one scope short", principal("jwt", ["read"]), { ...any, scopes: ["read", "orders:write"] }, "scope"],
    ["a covering scope", principal("jwt", ["read", "orders:*"]), { ...any, scopes: ["read", "orders:write"] }, "pass"],
    ["no such role", principal("jwt", [], ["user"]), { ...any, roles: ["admin", "owner"] }, "role"],
    ["one of the roles", principal("jwt", [], ["owner"]), { ...any, roles: ["admin", "owner"] }, "pass"],
  ])("%s", (_name, who, policy, verdict) => {
    expect(decideGuard(who, policy)).toBe(verdict);
  });
});

describe.each(EXPRESS)("guards on $name", ({ express }) => {
  async function ask(guard: RequestHandler, ran: LayerId[], who?: Principal) {
    const app = express();
    app.use((req, _res, next) => {
      for (const layer of ran) stateOf(req).markRan(layer);
      if (who !== undefined) req.principal = who;
      next();
    });
    app.get("/", guard, (req, res) => void res.json(req.principal));
    const server = await serve(app);
    const answer = await server.send("/");
    await server.close();
    return answer;
  }

  it("answer 500 naming the line to add when their protection has not run: the caller does not count as anonymous", async () => {
    const answer = await ask(requireApiKey(), []);
    expect(answer.status).toBe(500);
    expect(answer.json()).toMatchObject({ code: "protection-not-run" });
    expect(answer.text).toContain("applySecurity(app, { apiKeys: {} })");
    expect((await ask(requireApiKey(), ["jwt"])).status).toBe(500);
    expect((await ask(requireSession(), ["jwt"])).text).toContain("session: {}");
    expect((await ask(requireJwt(), [])).text).toContain("jwt: {}");
    expect((await ask(requireAuth(), ["headers"])).status).toBe(500);
    expect((await ask(requireAuth({ kinds: ["jwt", "session"] }), ["jwt"])).status).toBe(500);
  });

  it("challenge without an error code when the request has no credential", async () => {
    const answer = await ask(requireAuth(), ["jwt", "api-key", "session"]);
    expect([answer.status, answer.headers["www-authenticate"]]).toEqual([
      401,
      'Bearer realm="api", ApiKey realm="api", Session realm="api"',
    ]);
    expect((await ask(requireJwt(), ["jwt"])).headers["www-authenticate"]).toBe('Bearer realm="api"');
  });

  it("challenge only for the kinds of credential that the app accepts", async () => {
    const challengeOf = async (ran: LayerId[], options = {}, who?: Principal) =>
      (await ask(requireAuth(options), ran, who)).headers["www-authenticate"];
    expect(await challengeOf(["jwt"])).toBe('Bearer realm="api"');
    expect(await challengeOf(["api-key"])).toBe('Bearer realm="api", ApiKey realm="api"');
    expect(await challengeOf(["session"])).toBe('Session realm="api"');
    expect(await challengeOf(["jwt", "session"], { kinds: ["jwt"] })).toBe('Bearer realm="api"');
    expect(await challengeOf(["jwt"], { scopes: ["read"] }, principal("jwt"))).toBe(
      'Bearer realm="api", error="insufficient_scope", scope="read"',
    );
  });

  it("let the right caller through with a frozen principal", async () => {
    const answer = await ask(requireJwt({ scopes: ["read"] }), ["jwt"], principal("jwt", ["read"]));
    expect(answer.json()).toEqual({
      id: "ada",
      kind: "jwt",
      scopes: ["read"],
      roles: [],
      credentialId: "c1",
      claims: {},
      authenticatedAt: 0,
      methods: [],
    });
  });

  it("refuse an insufficient scope with 403 and name the required scope (RFC 6750 section 3.1)", async () => {
    const answer = await ask(requireJwt({ scopes: ["orders:write", "read"] }), ["jwt"], principal("jwt", ["read"]));
    expect([answer.status, answer.json()]).toMatchObject([403, { code: "insufficient-scope" }]);
    expect(answer.headers["www-authenticate"]).toBe(
      'Bearer realm="api", error="insufficient_scope", scope="orders:write read"',
    );
  });

  it("refuse a session on a route for keys", async () => {
    expect((await ask(requireApiKey(), ["api-key", "session"], principal("session"))).status).toBe(401);
  });

  it("report every refusal, with the caller and what was missing", async () => {
    const heard: unknown[] = [];
    const runtime = createRuntime();
    runtime.events.on("authz_fail", ({ source, reason, path }) => heard.push([source, reason, path]));
    const app = express();
    app.use((req, _res, next) => {
      beginState(req, runtime).markRan("jwt");
      if (req.query["as"] === "ada") req.principal = principal("jwt", ["read"], ["user"]);
      next();
    });
    app.get("/any", requireAuth(), (_req, res) => void res.end());
    app.get("/scope", requireJwt({ scopes: ["orders:write"] }), (_req, res) => void res.end());
    app.get("/role", requireJwt({ roles: ["admin"] }), (_req, res) => void res.end());
    const server = await serve(app);
    expect((await server.send("/any?as=ada")).status).toBe(200);
    expect(heard).toEqual([]);
    for (const [path, status] of [
      ["/any", 401],
      ["/scope?as=ada", 403],
      ["/role?as=ada", 403],
    ] as const)
      expect((await server.send(path)).status).toBe(status);
    expect(heard).toEqual([
      ["requireAuth", "none", "/any"],
      ["requireJwt", "scope", "/scope"],
      ["requireJwt", "role", "/role"],
    ]);
    await server.close();
  });
});

describe("guard options", () => {
  it.each([[{ scope: ["read"] }], [{ scopes: ["a b"] }], [{ kinds: [] }], [{ kinds: ["cookie"] }]])(
    "that are wrong are refused at start: %j",
    (options) => {
      expect(() => requireAuth(options as never)).toThrow(SettingsError);
      expect(() => requireAuth(options as never)).toThrow(/^requireAuth\(\): 1 setting is wrong:\n/);
    },
  );
});
