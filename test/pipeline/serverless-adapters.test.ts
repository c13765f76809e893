import { createRequire } from "node:module";
import type { Express, RequestHandler } from "express";
import { afterEach, describe, expect, it } from "vitest";
import { applySecurity, csrfProtection, trustedHost } from "portcullis";
import { EXPRESS } from "../support/express-versions.js";
import { serve } from "../support/serve.js";

/** What an adapter answers: API Gateway takes `headers`, an ALB with multi-value headers the other. */
interface LambdaAnswer {
  readonly statusCode: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly multiValueHeaders?: Readonly<Record<string, readonly string[]>>;
  readonly cookies?: readonly string[];
  readonly body: string;
}
type LambdaHandler = (event: object, context: object) => Promise<LambdaAnswer>;
interface Asked {
  readonly method?: string;
  readonly path?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly address?: string;
}

const require = createRequire(import.meta.url);
const serverlessHttp = require("serverless-http") as (app: Express) => LambdaHandler;
const codegenie = require("@codegenie/serverless-express") as (options: { app: Express }) => LambdaHandler;
const vendia = require("@vendia/serverless-express") as (options: { app: Express }) => LambdaHandler;

const CLIENT = "203.0.113.7";
const HOST = "api.example.com";
const PAGE = "https://app.example.com";
const EVIL = "https://evil.example";
const SECRET = "q7dS1uY0pXk3Vw8ZrT5nB2mC9eFgHjLa";

/** API Gateway, payload version 1. */
function v1({ method = "GET", path = "/", headers = {}, address = CLIENT }: Asked): object {
  return {
    httpMethod: method,
    path,
    headers: { Host: HOST, "X-Forwarded-Proto": "https", ...headers },
    queryStringParameters: null,
    body: "",
    isBase64Encoded: false,
    requestContext: { identity: { sourceIp: address } },
  };
}

/** The same with every header as a list, as it comes when they are repeated. */
function v1Lists(asked: Asked): object {
  const { headers, ...event } = v1(asked) as { headers: Record<string, string> };
  return {
    ...event,
    headers: {},
    multiValueHeaders: Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, [value]])),
  };
}

/** API Gateway and function URLs, payload version 2. */
function v2({ method = "GET", path = "/", headers = {}, address = CLIENT }: Asked): object {
  const { cookie, ...rest } = headers;
  return {
    version: "2.0",
    rawPath: path,
    rawQueryString: "",
    ...(cookie === undefined ? {} : { cookies: [cookie] }),
    headers: { host: HOST, "x-forwarded-proto": "https", ...rest },
    body: "",
    isBase64Encoded: false,
    requestContext: { http: { method, sourceIp: address } },
  };
}

/** An Application Load Balancer, which names the client in X-Forwarded-For alone. */
function alb({ method = "GET", path = "/", headers = {}, address = CLIENT }: Asked): object {
  return {
    requestContext: { elb: { targetGroupArn: "arn" } },
    httpMethod: method,
    path,
    queryStringParameters: {},
    headers: { host: HOST, "x-forwarded-proto": "https", "x-forwarded-for": address, ...headers },
    body: "",
    isBase64Encoded: false,
  };
}

const WAYS: readonly { name: string; adapt: (app: Express) => LambdaHandler; event: (asked: Asked) => object }[] = [
  { name: "serverless-http, v1", adapt: (app) => serverlessHttp(app), event: v1 },
  { name: "serverless-http, v1 with lists", adapt: (app) => serverlessHttp(app), event: v1Lists },
  { name: "serverless-http, v2", adapt: (app) => serverlessHttp(app), event: v2 },
  { name: "@codegenie/serverless-express, v1", adapt: (app) => codegenie({ app }), event: v1 },
  { name: "@codegenie/serverless-express, v1 with lists", adapt: (app) => codegenie({ app }), event: v1Lists },
  { name: "@codegenie/serverless-express, v2", adapt: (app) => codegenie({ app }), event: v2 },
  { name: "@codegenie/serverless-express, ALB", adapt: (app) => codegenie({ app }), event: alb },
  { name: "@vendia/serverless-express, v1", adapt: (app) => vendia({ app }), event: v1 },
  { name: "@vendia/serverless-express, v2", adapt: (app) => vendia({ app }), event: v2 },
  { name: "@vendia/serverless-express, ALB", adapt: (app) => vendia({ app }), event: alb },
];

const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

describe.each(EXPRESS)("every protection behind a serverless adapter, $name", ({ express }) => {
  async function secured({ adapt, event }: (typeof WAYS)[number], limit = 1000) {
    const app = express();
    const settings = {
      secretKey: SECRET,
      trustedHosts: [HOST],
      trustProxy: 1,
      cors: { origins: [PAGE], credentials: true },
      session: {},
      apiKeys: { hash: "hmac-sha256" as const },
      jwt: {},
      rateLimit: { limit },
    };
    const security = applySecurity(app, settings);
    const logIn: RequestHandler = (req, res, next) => {
      security.logIn(req, { id: "ada" }).then(() => res.send("in"), next);
    };
    app.post("/login", logIn);
    app.all("/t", (req, res) => void res.json({ id: req.principal?.id ?? null }));
    await security.ready();
    closing.push(() => security.close());
    const handler = adapt(app);
    const ask = async (
      asked: Asked,
    ): Promise<{ status: number; body: string; header: (name: string) => string | undefined }> => {
      const answer = await handler(event(asked), {});
      const found = (headers: Readonly<Record<string, unknown>> = {}, name: string) =>
        Object.entries(headers).find(([key]) => key.toLowerCase() === name)?.[1];
      const header = (name: string): string | undefined => {
        const value =
          found(answer.headers, name) ??
          found(answer.multiValueHeaders, name) ??
          (name === "set-cookie" ? answer.cookies : undefined);
        return Array.isArray(value) ? value.join(", ") : (value as string | undefined);
      };
      return { status: answer.statusCode, body: answer.body, header };
    };
    return { ask, security };
  }

  describe.each(WAYS)("$name", (way) => {
    it("refuses a forged request, and takes one of its own page and of a program", async () => {
      const { ask } = await secured(way);
      expect(
        (await ask({ method: "POST", path: "/t", headers: { origin: EVIL, "sec-fetch-site": "cross-site" } })).status,
      ).toBe(403);
      expect((await ask({ method: "POST", path: "/t", headers: { origin: EVIL } })).status).toBe(403);
      expect(
        (
          await ask({
            method: "POST",
            path: "/t",
            headers: { origin: `https://${HOST}`, "sec-fetch-site": "same-origin" },
          })
        ).status,
      ).toBe(200);
      expect((await ask({ method: "POST", path: "/t" })).status).toBe(200);
    });

    it("refuses another host, and takes its own", async () => {
      const { ask } = await secured(way);
      const name = way.event === v1 || way.event === v1Lists ? "Host" : "host";
      expect((await ask({ path: "/t", headers: { [name]: "evil.example" } })).status).toBe(400);
      const own = await ask({ path: "/t" });
      expect([
        own.status,
        own.header("x-content-type-options"),
        own.header("strict-transport-security") !== undefined,
      ]).toEqual([200, "nosniff", true]);
    });

    it("answers CORS for listed origins alone", async () => {
      const { ask } = await secured(way);
      const preflight = await ask({
        method: "OPTIONS",
        path: "/t",
        headers: { origin: PAGE, "access-control-request-method": "PUT" },
      });
      expect([preflight.status, preflight.header("access-control-allow-origin")]).toEqual([204, PAGE]);
      expect((await ask({ path: "/t", headers: { origin: PAGE } })).header("access-control-allow-origin")).toBe(PAGE);
      expect(
        (await ask({ path: "/t", headers: { origin: EVIL } })).header("access-control-allow-origin"),
      ).toBeUndefined();
    });

    it("counts each client for itself", async () => {
      const { ask } = await secured(way, 2);
      const statuses: number[] = [];
      for (let n = 0; n < 3; n += 1) statuses.push((await ask({ path: "/t" })).status);
      expect(statuses).toEqual([200, 200, 429]);
      expect((await ask({ path: "/t", headers: {}, address: "198.51.100.9" })).status).toBe(200);
    });

    it("accepts its keys and tokens, and refuses two credentials at once", async () => {
      const { ask, security } = await secured(way);
      const { key } = await security.apiKeys.create({ ownerId: "ada", name: "k" });
      const { accessToken } = await security.jwt.issue("ada");
      for (const headers of [
        { "x-api-key": key },
        { authorization: `Bearer ${key}` },
        { authorization: `Bearer ${accessToken}` },
      ] as Record<string, string>[]) {
        expect((await ask({ path: "/t", headers })).body).toBe('{"id":"ada"}');
      }
      // An adapter joins what was sent twice.
      expect((await ask({ path: "/t", headers: { "x-api-key": `${key}, ${key}` } })).status).toBe(400);
      expect(
        (await ask({ path: "/t", headers: { authorization: `Bearer ${accessToken}, Bearer ${accessToken}` } })).status,
      ).toBe(401);
      expect(
        (await ask({ path: "/t", headers: { "x-api-key": key, authorization: `Bearer ${accessToken}` } })).status,
      ).toBe(400);
      expect((await ask({ method: "POST", path: "/t", headers: { origin: `https://${HOST}, ${EVIL}` } })).status).toBe(
        403,
      );
      expect((await ask({ path: "/t", headers: { "x-api-key": "mcp_wrong" } })).status).toBe(401);
    });

    it("keeps a session", async () => {
      const { ask } = await secured(way);
      const cookie = (await ask({ method: "POST", path: "/login" })).header("set-cookie")?.split(";")[0] ?? "";
      expect(cookie).toMatch(/^__Host-/);
      expect((await ask({ path: "/t", headers: { cookie } })).body).toBe('{"id":"ada"}');
    });
  });
});

describe.each([
  ["empty", []],
  ["missing", undefined],
] as const)("a request whose rawHeaders is %s", (_name, rawHeaders) => {
  it.each(EXPRESS)("is checked by what its headers say, $name", async ({ express }) => {
    const app = express();
    app.use(trustedHost([HOST]), csrfProtection({}));
    app.use((_req, res) => void res.send("app"));
    const server = await serve((req, res) => {
      Object.assign(req, { rawHeaders });
      app(req, res);
    });
    closing.push(() => server.close());
    const ask = async (headers: Record<string, string>, method = "POST") =>
      (await server.send("/", { method, headers })).status;
    expect(await ask({ host: HOST })).toBe(200);
    expect(await ask({ host: "evil.example" })).toBe(400);
    expect(await ask({ host: HOST, origin: EVIL })).toBe(403);
    expect(await ask({ host: HOST, "sec-fetch-site": "cross-site" })).toBe(403);
    expect(await ask({ host: HOST, origin: `http://${HOST}` })).toBe(200);
  });
});
