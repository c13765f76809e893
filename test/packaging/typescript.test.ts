import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Project } from "./support/project.js";

/** What an app in TypeScript does: each line that must not compile stands behind `@ts-expect-error`. */
const body = (importSessions: string): string => `
const app: Express = express();
const security = applySecurity(app, {
  trustedHosts: ["a.example"],
  secretKey: process.env.SECRET_KEY,
  session: { maxAge: 600, store: new MemorySessionStore() },
  apiKeys: {},
  jwt: false,
  rateLimit: { key: (req) => req.get("x-tenant") ?? "none" },
});
void security.apiKeys.create({ ownerId: "a", name: "b" });
// @ts-expect-error jwt is off
void security.jwt;
app.use(securityHeaders(), [rateLimiter(), csrfProtection()]);

// A guard leaves the types of the route as they are without it.
app.get("/users/:id", security.requireAuth({ scopes: ["users:read"] }), (req, res) => {
  const id: string = req.params.id;
  // @ts-expect-error the route has no such parameter
  void req.params.name;
  const caller: string | undefined = req.principal?.id;
  res.json({ id, caller });
});
app.post(
  "/orders/:order",
  [security.requireApiKey(), security.rateLimit({ name: "orders", limit: 5 })],
  security.headers({ frameOptions: "DENY" }),
  (req: Request<{ order: string }, string, { amount: number }>, res: Response<string>) => {
    res.send(req.params.order + req.body.amount.toFixed(2));
  },
);
app.use("/keys", security.apiKeyRoutes());
const guard: RequestHandler = security.requireSession();
app.get("/async", guard, security.handler(async (req, res) => void res.send(req.ip)));

app.get("/session", (req, res) => {
  req.session.cart = ["x"];
  const first: string | undefined = req.session.cart?.[0];
  // @ts-expect-error the app has not declared it
  req.session.basket = 1;
  req.session.save((error) => {
    res.send([first, req.sessionID, req.session.cookie.maxAge, error].join());
  });
});
${importSessions}
const sink: SecurityEvents = security.events;
void [sink, redisScript, collectEvents, mcpVerifier];
// @ts-expect-error were the types \`any\`, this would compile
const wrong: { any: never } = security.events;
void wrong;
`;

const NAMES = `import {
  applySecurity, csrfProtection, MemorySessionStore, rateLimiter, securityHeaders, type SecurityEvents,
} from "portcullis";
import { mcpVerifier } from "portcullis/mcp";
import { redisScript } from "portcullis/redis";
import { collectEvents } from "portcullis/testing";
`;
/** The types of this entry are for people who have Kysely. */
const SQL = `import { SqlApiKeyStore } from "portcullis/sql";
void SqlApiKeyStore;
`;
const EXPRESS = `import express, { type Express, type Request, type RequestHandler, type Response } from "express";
`;

/** Without \`@types/express-session\` the app declares its data in this library's namespace. */
const OWN_SESSIONS = `declare global {
  namespace Portcullis {
    interface SessionData {
      cart: string[];
    }
  }
}
`;
/** With it, in that package's interface; and its stores fit. */
const THEIR_SESSIONS = `declare module "express-session" {
  interface SessionData {
    cart: string[];
  }
}
import session from "express-session";
app.use(sessions({ secret: "x", store: new session.MemoryStore() }));
`;

const OPTIONS = {
  target: "es2022",
  lib: ["es2023"],
  types: ["node"],
  strict: true,
  noEmit: true,
  skipLibCheck: false,
  esModuleInterop: true,
  exactOptionalPropertyTypes: true,
  noUncheckedIndexedAccess: true,
};

const STACKS = [
  { name: "Express 4.18, TypeScript 5.9", packages: ["express@4.18.0", "@types/express@4", "typescript@5.9"] },
  {
    name: "Express 4, TypeScript 6, Kysely",
    packages: ["express@4", "@types/express@4.17.25", "typescript@6", "kysely@0.28"],
  },
  {
    name: "Express 5, TypeScript 5.9, Kysely, @types/express-session",
    packages: ["express@5", "@types/express@5", "@types/express-session", "typescript@5.9", "kysely@0.28"],
  },
  { name: "Express 5, TypeScript 6", packages: ["express@5", "@types/express@5", "typescript@6"] },
];

describe.each(STACKS)("a strict project with $name", ({ packages }) => {
  const theirs = packages.includes("@types/express-session");
  const sql = packages.includes("kysely@0.28") ? SQL : "";
  const project = new Project("module");
  beforeAll(async () => {
    await project.install("@types/node@20", ...packages);
    const names = theirs ? NAMES.replace("applySecurity,", "applySecurity, sessions,") : NAMES;
    const module = EXPRESS + names + sql + body(theirs ? THEIR_SESSIONS : OWN_SESSIONS);
    project.write("app.ts", module);
    project.write("app.mts", module);
    project.write("app.cts", module);
    const config = (name: string, include: string, compilerOptions: object): void =>
      project.write(
        `tsconfig.${name}.json`,
        JSON.stringify({ compilerOptions: { ...OPTIONS, ...compilerOptions }, include: [include] }),
      );
    config("nodenext", "app.?ts", { module: "nodenext" });
    config("bundler", "app.ts", { module: "esnext", moduleResolution: "bundler", verbatimModuleSyntax: true });
    // TypeScript 5.9 resolves modules then as Node 10 did: without \`exports\`.
    config("commonjs", "app.ts", { module: "commonjs", target: "es2020", lib: ["es2020"] });
  }, 600_000);
  afterAll(() => project.remove());

  it.each(["nodenext", "bundler", "commonjs"])("compiles as %s", { timeout: 300_000 }, async (config) => {
    expect(await project.run("tsc", ["-p", `tsconfig.${config}.json`])).toEqual({ status: 0, output: "" });
  });

  it("has one copy of the types of Express", () => {
    expect(project.copiesOf("@types/express")).toEqual(["@types/express"]);
    expect(project.copiesOf("@types/express-session")).toEqual(theirs ? ["@types/express-session"] : []);
  });
});
