import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import type { IncomingMessage } from "node:http";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { Express } from "express";
import { standalone } from "../../../src/core/pipeline.js";
import { applySecurity } from "../../../src/apply-security.js";
import { createRuntime } from "../../../src/core/runtime.js";
import { createHeaders, securityHeaders } from "../../../src/headers/middleware.js";
import { headersSchema } from "../../../src/headers/schema.js";
import type { HeadersSettings } from "../../../src/headers/settings.js";
import { parse } from "../../../src/settings/object.js";
import { EXPRESS } from "../../support/express-versions.js";
import { expectSecurityHeaders } from "../../support/security-headers.js";
import { serve } from "../../support/serve.js";
import { DEFAULT_PLAIN, FINAL_CSP } from "../../headers/expected.js";

type Send = (req: IncomingMessage, path: string, options: { root: string }) => { pipe(res: unknown): unknown };
const { resolve } = createRequire(import.meta.url);

/** By itself, and as a part of the whole. */
const WAYS: readonly { way: string; secure: (app: Express, headers?: HeadersSettings) => Express }[] = [
  { way: "securityHeaders", secure: (app, settings) => app.use(securityHeaders(settings)) },
  {
    way: "applySecurity",
    secure: (app, headers = {}) => (
      applySecurity(app, { trustedHosts: ["127.0.0.1"], rateLimit: false, headers }),
      app
    ),
  },
];

describe.each(EXPRESS.flatMap((version) => WAYS.map((way) => ({ ...version, ...way }))))(
  "pages that Express writes, by $way on $name",
  ({ name, express, secure }) => {
    it("an app mounted in a protected app does not announce Express, and its routes are protected", async () => {
      const app = express();
      const inner = express();
      inner.get("/ok", (_req, res) => void res.send("x"));
      secure(app);
      app.use("/inner", inner);
      const server = await serve(app);
      expectSecurityHeaders(await server.send("/inner/ok"), DEFAULT_PLAIN);
      expectSecurityHeaders(await server.send("/inner/nothing"), {
        ...DEFAULT_PLAIN,
        "Content-Security-Policy": FINAL_CSP,
      });
      await server.close();
    });

    it("protection inside a mounted app holds when the outer app ends the request", async () => {
      const app = express();
      const inner = express();
      secure(inner);
      app.use("/inner", inner);
      const server = await serve(app);
      expectSecurityHeaders(await server.send("/inner/nothing"), {
        ...DEFAULT_PLAIN,
        "Content-Security-Policy": FINAL_CSP,
      });
      await server.close();
    });

    it("an app of the same process without this library is left as it was", async () => {
      const [ours, other] = [express(), express()];
      secure(ours);
      const inner = express();
      inner.use((_req, _res, next) => next()); // without a handler Express 4 does not even set X-Powered-By
      other.disable("x-powered-by").use(inner);
      const [one, two] = [await serve(ours), await serve(other)];
      await one.send("/");
      expectSecurityHeaders(await two.send("/"), {
        "Content-Security-Policy": "default-src 'none'",
        "X-Content-Type-Options": "nosniff",
        "X-Powered-By": "Express",
      });
      await one.close();
      await two.close();
    });

    it("an error page of send, which clears every header first, has the headers of every layer", async () => {
      const send = createRequire(resolve(name === "Express 5" ? "express" : "express4"))("send") as Send;
      for (const secure of [false, true]) {
        const app = express().set("trust proxy", true);
        const layer = createHeaders(parse(headersSchema, { frameOptions: "SAMEORIGIN" }), createRuntime());
        app.use(
          standalone([layer], createRuntime()),
          layer.patch({ referrerPolicy: "origin" }),
          (req, res) => void send(req, "/none", { root: tmpdir() }).pipe(res),
        );
        const server = await serve(app);
        const answer = await server.send("/", { headers: { "x-forwarded-proto": secure ? "https" : "http" } });
        expect(answer.status).toBe(404);
        expectSecurityHeaders(answer, {
          ...DEFAULT_PLAIN,
          ...(secure ? { "Strict-Transport-Security": "max-age=31536000; includeSubDomains" } : {}),
          "Content-Security-Policy": FINAL_CSP,
          "X-Frame-Options": "SAMEORIGIN",
          "Referrer-Policy": "origin",
        });
        await server.close();
      }
    });

    it("the redirect of express.static to a folder has the headers of every layer", async () => {
      const folder = mkdtempSync(join(tmpdir(), "portcullis-"));
      mkdirSync(join(folder, "docs"));
      const app = express();
      secure(app).use(express.static(folder));
      const server = await serve(app);
      const answer = await server.send("/docs");
      expect(answer.status).toBe(301);
      expectSecurityHeaders(answer, { ...DEFAULT_PLAIN, "Content-Security-Policy": FINAL_CSP });
      await server.close();
      rmSync(folder, { recursive: true });
    });

    it.each([
      ["no policy", { contentSecurityPolicy: false as const }],
      ["a policy that is only reported on", { mode: "report" as const }],
    ])("a page is left alone where the settings enforce %s", async (_name, settings) => {
      const app = express();
      app.use(standalone([createHeaders(parse(headersSchema, settings), createRuntime())], createRuntime()));
      const server = await serve(app);
      expect((await server.send("/nothing")).headers["content-security-policy"]).toBe("default-src 'none'");
      await server.close();
    });

    it("an error page after the nonce was read has the locked policy too", async () => {
      const app = express();
      secure(app, { contentSecurityPolicy: { directives: { "script-src": ["'nonce'"] } } });
      app.get("/", (_req, res) => {
        void res.locals["cspNonce"];
        throw new Error("boom");
      });
      const server = await serve(app);
      const answer = await server.send("/");
      expect(answer.status).toBe(500);
      expectSecurityHeaders(answer, { ...DEFAULT_PLAIN, "Content-Security-Policy": FINAL_CSP });
      await server.close();
    });

    it("a successful answer on which the app set that same policy keeps it", async () => {
      const app = express();
      secure(app);
      app.get("/", (_req, res) => void res.set("Content-Security-Policy", "default-src 'none'").send("mine"));
      app.get("/failed", (_req, res) => {
        res.status(500).set("Content-Security-Policy", "default-src 'none'").send("theirs");
      });
      const server = await serve(app);
      expect((await server.send("/")).headers["content-security-policy"]).toBe("default-src 'none'");
      expect((await server.send("/failed")).headers["content-security-policy"]).toBe(FINAL_CSP);
      await server.close();
    });

    it("an X-Powered-By that the app sets itself is kept", async () => {
      const app = express();
      secure(app).use((_req, res) => void res.set("X-Powered-By", "coffee").end());
      const server = await serve(app);
      expect((await server.send("/")).headers["x-powered-by"]).toBe("coffee");
      await server.close();
    });
  },
);
