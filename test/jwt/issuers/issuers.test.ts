import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { EXPRESS } from "../../support/express-versions.js";
import { serve, type TestServer } from "../../support/serve.js";
import { requireJwt } from "../../../src/guards.js";
import { jwtAuth } from "../../../src/jwt/middleware.js";
import type { JwtManager } from "../../../src/jwt/manager.js";
import { codeOf } from "../support.js";
import { AUDIENCE, foreignBench, foreignClaims, foreignToken, TestIssuer, testKey } from "./support.js";

const ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"] as const;
const KEYS = new Map(ALGORITHMS.map((alg) => [alg, testKey(alg, `key-${alg}`)]));

let issuer: TestIssuer;
beforeAll(async () => void (issuer = await TestIssuer.start(...KEYS.values())));
afterAll(() => issuer.close());

const managers: JwtManager[] = [];
afterEach(async () => {
  await Promise.all(managers.splice(0).map((manager) => manager.close()));
});

const entry = (): { issuer: string; audience: string; algorithms: (typeof ALGORITHMS)[number][]; jwksUri: string } => ({
  issuer: issuer.url,
  audience: AUDIENCE,
  algorithms: [...ALGORITHMS],
  jwksUri: issuer.jwksUri,
});

function start(...args: Parameters<typeof foreignBench>): ReturnType<typeof foreignBench> {
  const made = foreignBench(...args);
  managers.push(made.manager);
  return made;
}

describe.each(EXPRESS)("a token of another issuer on $name", ({ express }) => {
  let server: TestServer | undefined;
  afterEach(async () => {
    await server?.close();
    server = undefined;
  });

  it.each(ALGORITHMS)("authenticates when it is signed with %s", async (alg) => {
    const { manager } = start({ issuers: [entry()] });
    await manager.init();
    const app = express();
    app.use(jwtAuth(manager));
    app.get("/me", requireJwt({ scopes: ["orders:read"] }), (req, res) => void res.json(req.principal));
    server = await serve(app);
    const token = await foreignToken(KEYS.get(alg)!, foreignClaims(issuer.url));
    for (let time = 0; time < 2; time += 1) {
      const answer = await server.send("/me", { headers: { authorization: `Bearer ${token}` } });
      expect(answer.status).toBe(200);
      expect(answer.json()).toMatchObject({
        id: `${issuer.url}|ada`,
        kind: "jwt",
        issuer: issuer.url,
        scopes: ["orders:read"],
      });
    }
  });
});

it("verifies only tokens of issuers without a key of its own", async () => {
  const { manager } = start({ issuers: [entry()] }, false);
  await manager.init();
  const token = await foreignToken(KEYS.get("ES256")!, foreignClaims(issuer.url));
  expect((await manager.verifyAccessToken(token)).sub).toBe("ada");
  expect(await codeOf(manager.issue("ada"))).toMatchObject({ name: "SetupError" });
  expect(await manager.jwks()).toEqual({ keys: [] });
  expect(manager.describe()).toMatchObject({ key: "none: verifies only", kids: [] });
});
