import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import corsPackage from "cors";
import express, { type Express, type RequestHandler } from "express";
import { rateLimit, type Store } from "express-rate-limit";
import session from "express-session";
import helmet from "helmet";
import jwt from "jsonwebtoken";
import { afterEach, describe, expect, it, vi } from "vitest";
import { applySecurity, type Security, type SecuritySettings } from "portcullis";
import { testSecret } from "portcullis/testing";
import { ROOT } from "../support/code-blocks.js";
import { serve, type Answer, type TestServer } from "../support/serve.js";

const APP = "https://app.example.com";
const closing: (() => unknown)[] = [];
afterEach(async () => {
  vi.restoreAllMocks();
  for (const close of closing.splice(0)) await close();
});

/** An app with middleware of the five packages. */
function peers(...middleware: RequestHandler[]): Promise<TestServer> {
  const app = express();
  for (const one of middleware) app.use(one);
  return started(app);
}
/** The same app with portcullis. */
async function ours(
  settings: SecuritySettings = {},
  routes: (app: Express, security: Security) => unknown = () => undefined,
): Promise<TestServer> {
  const app = express();
  const given = { trustedHosts: ["127.0.0.1"], secretKey: testSecret(), ...settings };
  const security = applySecurity(app, given);
  closing.push(() => security.close());
  routes(app, security);
  return started(app);
}
async function started(app: Express): Promise<TestServer> {
  app.get("/", (_req, res) => void res.send("hello"));
  app.post("/", (_req, res) => void res.send("changed"));
  const server = await serve(app);
  closing.push(server.close);
  return server;
}

/** What express-session asks to be set, so that it prints nothing. */
const sessionOf = (options: Partial<session.SessionOptions> = {}) =>
  session({ secret: testSecret(), resave: false, saveUninitialized: false, ...options });
const cookieOf = (answer: Answer): string => answer.headers["set-cookie"]?.[0] ?? "";
const pairOf = (answer: Answer): string => cookieOf(answer).split(";")[0] ?? "";
const attributesOf = (answer: Answer): string =>
  [/^__Host-/, /Secure/, /HttpOnly/, /SameSite=\w+/]
    .flatMap((pattern) => pattern.exec(cookieOf(answer))?.[0] ?? [])
    .map((text) => `\`${text}\``)
    .join(", ");

/** Whether something is accepted when the app starts. */
function atStart(...makes: (() => unknown)[]): string {
  const accepted = makes.filter((make) => {
    try {
      make();
      return true;
    } catch {
      return false;
    }
  });
  return accepted.length === makes.length
    ? "accepted"
    : accepted.length === 0
      ? "the app does not start"
      : `accepted by ${accepted.length} of ${makes.length}`;
}
const oursAtStart = (settings: object): string =>
  atStart(() => applySecurity(express(), { trustedHosts: ["a.example"], secretKey: testSecret(), ...settings }));

/** Requests accepted in a third of a window: one at its beginning, then as many as pass near its end and just after it. */
async function burst(server: TestServer, limit: number, windowMs: number): Promise<string> {
  const accepted = async (count: number): Promise<number> => {
    const answers = await Promise.all(Array.from({ length: count }, () => server.send("/")));
    return answers.filter(({ status }) => status === 200).length;
  };
  await server.send("/");
  await sleep(0.85 * windowMs);
  const before = await accepted(limit);
  await sleep(0.25 * windowMs);
  return String(before + (await accepted(limit)));
}

/** A store that never answers. */
const silent = { increment: () => new Promise(() => undefined), decrement: () => undefined, resetKey: () => undefined };

async function answersWithin(server: TestServer, ms: number): Promise<string> {
  const status = await Promise.race([server.send("/").then(({ status }) => String(status)), sleep(ms)]);
  return status === undefined ? "hangs" : status === "200" ? "is answered" : `gets ${status}`;
}

/** What each row of the table claims: the five packages, then portcullis. */
const ROWS: Readonly<Record<string, () => Promise<readonly [string, string]>>> = {
  "requests accepted within a second, with a limit of 10 in 3 seconds": async () => {
    const windowMs = 3000;
    const [theirs, own] = await Promise.all([
      peers(rateLimit({ windowMs, limit: 10 })),
      ours({ rateLimit: { limit: 10, windowSeconds: 3 } }),
    ]);
    return Promise.all([burst(theirs, 10, windowMs), burst(own, 10, windowMs)]);
  },
  "a misspelt option": async () => {
    vi.spyOn(console, "error").mockImplementation(() => undefined);
    return [
      atStart(
        () => helmet({ frameGuard: false } as never),
        () => corsPackage({ orign: APP } as never),
        () => rateLimit({ windowsMs: 1000 } as never),
        () => sessionOf({ rollling: true } as never),
        () => jwt.sign({}, testSecret(), { expireIn: "1h" } as never),
      ),
      oursAtStart({ rateLimit: { windowSecond: 1 } }),
    ];
  },
  "the secret `secret`": async () => [
    atStart(
      () => sessionOf({ secret: "secret" }),
      () => jwt.sign({}, "secret"),
    ),
    oursAtStart({ secretKey: "secret" }),
  ],
  "every origin, with credentials": async () => [
    atStart(() => corsPackage({ origin: "*", credentials: true })),
    oursAtStart({ cors: { origins: "*", credentials: true } }),
  ],
  "`trust proxy` set to `true`": async () => {
    const logged = vi.spyOn(console, "error").mockImplementation(() => undefined);
    const app = express().set("trust proxy", true);
    app.use(rateLimit());
    await (await started(app)).send("/");
    return [
      logged.mock.calls.length > 0 ? "an error is logged at the first request" : "",
      oursAtStart({ trustProxy: true }),
    ];
  },
  "the session cookie": async () => {
    const theirs = await peers(sessionOf(), (req, _res, next) => {
      Object.assign(req.session, { user: "ada" });
      next();
    });
    const own = await ours({ session: {} }, logInRoute);
    return [attributesOf(await theirs.send("/")), attributesOf(await own.send("/in", { method: "POST" }))];
  },
  "the session id after a log-in": async () => {
    const theirs = await peers(sessionOf(), (req, _res, next) => {
      Object.assign(req.session, { user: req.path });
      next();
    });
    const own = await ours({ session: {} }, (app, security) => {
      app.get("/", (req, res) => {
        Object.assign(req.session, { cart: 1 });
        res.end();
      });
      logInRoute(app, security);
    });
    const renewed = async (server: TestServer): Promise<string> => {
      const before = await server.send("/");
      const after = await server.send("/in", { method: "POST", headers: { Cookie: pairOf(before) } });
      return ["", pairOf(before)].includes(pairOf(after)) ? "the same, unless the app changes it" : "a new one";
    };
    return [await renewed(theirs), await renewed(own)];
  },
  "a form of another site, sent with the user's cookie": async () => {
    const theirs = await peers(helmet(), corsPackage({ origin: APP }), sessionOf());
    const own = await ours({ cors: { origins: [APP] }, session: {} });
    const forge = async (server: TestServer): Promise<string> => {
      const headers = { Origin: "https://evil.example", "Sec-Fetch-Site": "cross-site" };
      const { status } = await server.send("/", { method: "POST", headers });
      return status === 200 ? "accepted" : `${status}`;
    };
    return [await forge(theirs), await forge(own)];
  },
  "a request for another host": async () => {
    const theirs = await peers(helmet(), corsPackage());
    const own = await ours();
    const ask = async (server: TestServer): Promise<string> => {
      const { status } = await server.send("/", { headers: { Host: "evil.example" } });
      return status === 200 ? "accepted" : `${status}`;
    };
    return [await ask(theirs), await ask(own)];
  },
  "camera, microphone, location": async () => {
    const of = ({ headers }: Answer): string => (headers["permissions-policy"] === undefined ? "allowed" : "denied");
    return [of(await (await peers(helmet())).send("/")), of(await (await ours()).send("/"))];
  },
  "ending an access token before it expires": async () => {
    let security: Security<{ jwt: object }> | undefined;
    const own = await ours({ jwt: {} }, (app, made) => {
      security = made as Security<{ jwt: object }>;
      app.get("/me", made.requireJwt(), (_req, res) => void res.send("me"));
    });
    const { accessToken } = (await security?.jwt.issue("ada")) ?? { accessToken: "" };
    const ask = async () => (await own.send("/me", { headers: { Authorization: `Bearer ${accessToken}` } })).status;
    const statuses = [await ask()];
    await security?.jwt.revokeSubject("ada");
    statuses.push(await ask());
    return [
      Object.keys(jwt).some((name) => /revoke|deny|block/i.test(name)) ? "possible" : "not possible",
      statuses.join() === "200,401" ? "`jwt.revokeSubject`, `revokeToken`" : statuses.join(),
    ];
  },
  "a request while the limiter's store does not answer": async () => {
    const store = silent as unknown as Store;
    const theirs = await peers(rateLimit({ store, validate: false }));
    const own = await ours({ rateLimit: { store } });
    return Promise.all([answersWithin(theirs, 2000), answersWithin(own, 2000)]);
  },
};

function logInRoute(app: Express, security: Security): void {
  app.post(
    "/in",
    security.handler(async (req, res) => {
      await security.logIn(req, { id: "ada" });
      res.sendStatus(204);
    }),
  );
}

const section = readFileSync(join(ROOT, "README.md"), "utf8").split("## Compared with")[1]?.split("\n## ")[0] ?? "";
const table = new Map(
  [...section.matchAll(/^\| (.+?) \| (.+?) \| (.+?) \|$/gm)].map(([, name = "", theirs = "", own = ""]) => [
    name,
    [theirs, own],
  ]),
);

describe("the comparison in README.md", () => {
  it("has a check for each of its rows", () => {
    expect([...table.keys()]).toEqual(Object.keys(ROWS));
  });

  it.each(Object.entries(ROWS))("is true: %s", async (name, run) => {
    vi.spyOn(process, "emitWarning").mockImplementation(() => undefined);
    expect(await run()).toEqual(table.get(name));
  });
});
