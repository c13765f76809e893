import type { Express, RequestHandler } from "express";
import { afterEach, describe, expect, it } from "vitest";
import {
  apiKeyAuth,
  ApiKeyService,
  applySecurity,
  corsPolicy,
  csrfProtection,
  jwtAuth,
  JwtManager,
  rateLimiter,
  securityHeaders,
  type SecurityEvent,
  SecurityEvents,
  trustedHost,
} from "portcullis";
import { EXPRESS } from "../support/express-versions.js";
import { serve, type Answer } from "../support/serve.js";

const SECRET = "q7dS1uY0pXk3Vw8ZrT5nB2mC9eFgHjLa";
const CROSS_SITE = { "sec-fetch-site": "cross-site", origin: "https://evil.example" };
const MODES = ["enforce", "report"] as const;
const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

interface Part {
  readonly part: string;
  make(mode: "enforce" | "report", events: SecurityEvents): RequestHandler;
  /** What of a request the part refuses, and with which status. */
  readonly headers: Record<string, string>;
  readonly status: number;
  readonly event: string;
}

function keys(mode: "enforce" | "report", events: SecurityEvents): RequestHandler {
  const service = new ApiKeyService({ hash: "hmac-sha256", secret: SECRET, mode }, { events });
  closing.push(() => service.close());
  return apiKeyAuth(service);
}

function tokens(mode: "enforce" | "report", events: SecurityEvents): RequestHandler {
  const manager = new JwtManager({ secret: SECRET, mode }, { events });
  closing.push(() => manager.close());
  return jwtAuth(manager);
}

const PARTS: Part[] = [
  {
    part: "hosts",
    make: (mode, events) => trustedHost({ hosts: ["127.0.0.1"], mode }, { events }),
    headers: { host: "evil.example" },
    status: 400,
    event: "portcullis_untrusted_host",
  },
  {
    part: "csrf",
    make: (mode, events) => csrfProtection({ mode }, { events }),
    headers: CROSS_SITE,
    status: 403,
    event: "malicious_csrf",
  },
  {
    part: "cors that rejects",
    make: (mode, events) => corsPolicy({ origins: ["https://app.example.com"], refused: "reject", mode }, { events }),
    headers: CROSS_SITE,
    status: 403,
    event: "malicious_cors",
  },
  { part: "api keys", make: keys, headers: { "x-api-key": "mcp_wrong" }, status: 401, event: "authn_login_fail" },
  { part: "tokens", make: tokens, headers: { authorization: "Bearer a.b.c" }, status: 401, event: "authn_login_fail" },
];

const post = (headers: Record<string, string> = {}) => ({ method: "POST", headers });
/** The fields that stand more than once on an answer. */
function repeated({ rawHeaders }: Answer): string[] {
  const names = rawHeaders.filter((_text, index) => index % 2 === 0).map((name) => name.toLowerCase());
  return names.filter((name, index) => names.indexOf(name) !== index);
}

describe.each(EXPRESS)("a part mounted twice, $name", ({ express }) => {
  async function twice(first: RequestHandler, second: RequestHandler) {
    const app = express();
    app.use(first);
    app.post("/", second, (_req, res) => void res.send("app"));
    const server = await serve(app);
    closing.push(() => server.close());
    return server;
  }

  for (const { part, make, headers, status, event } of PARTS) {
    it.each(MODES)(`${part}, one handler or two of one setting, %s: one refusal, one event`, async (mode) => {
      for (const sameHandler of [true, false]) {
        const events = new SecurityEvents();
        const seen: SecurityEvent[] = [];
        events.on("*", (one) => void seen.push(one));
        const first = make(mode, events);
        const server = await twice(first, sameHandler ? first : make(mode, events));
        for (let time = 1; time <= 2; time += 1) {
          const refused = await server.send("/", post(headers));
          expect([refused.status, refused.text === "app"]).toEqual(mode === "enforce" ? [status, false] : [200, true]);
          expect(seen.map((one) => [one.event, one.mode])).toEqual(Array(time).fill([event, mode]));
        }
        expect((await server.send("/", post())).text).toBe("app");
        expect(seen).toHaveLength(2);
      }
    });
  }

  it("reports an origin once when cors only hides the answer", async () => {
    const events = new SecurityEvents();
    const seen: unknown[] = [];
    events.on("malicious_cors", ({ reason }) => void seen.push(reason));
    const make = (): RequestHandler => corsPolicy({ origins: ["https://app.example.com"] }, { events });
    const server = await twice(make(), make());
    expect((await server.send("/", post({ origin: "https://evil.example" }))).text).toBe("app");
    expect(seen).toEqual(["unlisted-origin"]);
  });

  it("reports each of two refusals to each of two listeners", async () => {
    const [one, other] = [new SecurityEvents(), new SecurityEvents()];
    const seen: string[] = [];
    one.on("*", ({ source }) => void seen.push(`one ${source}`));
    other.on("*", ({ source }) => void seen.push(`other ${source}`));
    const app = express();
    for (const events of [one, other, one])
      app.use(
        trustedHost({ hosts: ["127.0.0.1"], mode: "report" }, { events }),
        csrfProtection({ mode: "report" }, { events }),
      );
    app.post("/", (_req, res) => void res.send("app"));
    const server = await serve(app);
    closing.push(() => server.close());
    await server.send("/", post({ host: "evil.example", ...CROSS_SITE }));
    expect(seen).toEqual(["one trusted-host", "one csrf", "other trusted-host", "other csrf"]);
  });

  it("reports a refusal after an earlier handler has only reported it", async () => {
    const events = new SecurityEvents();
    const modes: unknown[] = [];
    events.on("portcullis_untrusted_host", ({ mode }) => void modes.push(mode));
    const make = (mode: "enforce" | "report"): RequestHandler =>
      trustedHost({ hosts: ["127.0.0.1"], mode }, { events });
    const server = await twice(make("report"), make("enforce"));
    expect((await server.send("/", post({ host: "evil.example" }))).status).toBe(400);
    expect(modes).toEqual(["report", "enforce"]);
  });

  it("sends its headers once, as one handler writes them", async () => {
    const make = (): RequestHandler =>
      securityHeaders({
        frameOptions: "SAMEORIGIN",
        contentSecurityPolicy: { directives: { "frame-ancestors": ["'self'"] } },
      });
    const handler = make();
    const once = (await (await twice(handler, (_req, _res, next) => next())).send("/", post())).headers;
    for (const second of [handler, make()]) {
      const answer = await (await twice(handler, second)).send("/", post());
      expect(repeated(answer)).toEqual([]);
      expect({ ...answer.headers, date: "" }).toEqual({ ...once, date: "" });
    }
  });

  it("reports a client over its limit once a request when the limiter is in report mode", async () => {
    const events = new SecurityEvents();
    const seen: unknown[] = [];
    events.on("excess_rate_limit_exceeded", ({ mode }) => void seen.push(mode));
    const limiter = rateLimiter({ limit: 1, mode: "report" }, { events });
    const server = await twice(limiter, limiter);
    for (let time = 0; time < 3; time += 1) expect((await server.send("/", post())).status).toBe(200);
    expect(seen).toEqual(["report", "report"]);
  });
});

describe.each(EXPRESS.flatMap(({ name, express }) => MODES.map((mode) => ({ name, express, mode }))))(
  "a secured app mounted in another one, $mode, $name",
  ({ express, mode }) => {
    async function nested(): Promise<{
      send: Awaited<ReturnType<typeof serve>>["send"];
      outer: SecurityEvent[];
      inner: SecurityEvent[];
    }> {
      const settings = {
        debug: true,
        trustedHosts: { hosts: ["127.0.0.1"], mode },
        csrf: { mode },
        headers: { mode },
      } as const;
      const secured = (app: Express): SecurityEvent[] => {
        const seen: SecurityEvent[] = [];
        const security = applySecurity(app, settings);
        closing.push(() => security.close());
        security.events.on("*", (event) => void seen.push(event));
        return seen;
      };
      const [outerApp, innerApp] = [express(), express()];
      const [outer, inner] = [secured(outerApp), secured(innerApp)];
      outerApp.post("/", (_req, res) => void res.send("app"));
      outerApp.use("/in", innerApp);
      innerApp.post("/", (_req, res) => void res.send("app"));
      const server = await serve(outerApp);
      closing.push(() => server.close());
      return { send: server.send, outer, inner };
    }

    it.each([
      ["hosts", { host: "evil.example" }, 400, "portcullis_untrusted_host"],
      ["csrf", CROSS_SITE, 403, "malicious_csrf"],
    ])(
      "%s: one refusal, and one event for each app that the request reaches",
      async (_part, headers, status, event) => {
        const { send, outer, inner } = await nested();
        const answer = await send("/in", post(headers));
        expect([answer.status, repeated(answer)]).toEqual([mode === "enforce" ? status : 200, []]);
        expect([outer, inner].map((seen) => seen.map((one) => one.event))).toEqual(
          mode === "enforce" ? [[event], []] : [[event], [event]],
        );
      },
    );

    it("sends the headers of one app, once", async () => {
      const { send } = await nested();
      const [outside, inside] = [await send("/", post()), await send("/in", post())];
      expect([outside.text, inside.text, repeated(inside)]).toEqual(["app", "app", []]);
      const plain = ({ headers }: Answer): object => ({ ...headers, date: "", ratelimit: "", "ratelimit-policy": "" });
      expect(plain(inside)).toEqual(plain(outside));
      expect(inside.headers["x-frame-options"]).toBe("DENY");
    });
  },
);
