import express, { type Express, type Request } from "express";
import { applySecurity, type Security, type SecuritySettings } from "portcullis";

/** The service under test, another origin of its site, and a site of somebody else. `example` and `test`: RFC 2606. */
export const APP = "https://app.bank.example";
export const API = "https://api.bank.example";
export const EVIL = "https://evil.test";

export interface Site {
  readonly app: Express;
  readonly security?: Security;
}

const base: SecuritySettings = {
  secretKey: "wJ8s7Yk2pQz4Nf6Vb1Xc3Mh5Lr9Tg0Ud",
  trustedHosts: ["*.bank.example"],
  rateLimit: { limit: 1000, windowSeconds: 60 },
};

/** A secured app; everything the settings do not name is as applySecurity has it by default. */
export function secured(settings: SecuritySettings, routes: (app: Express, security: Security) => void): Site {
  const app = express();
  const security = applySecurity(app, { ...base, ...settings });
  app.get("/", (_req, res) => void res.type("html").send(html("")));
  routes(app, security);
  return { app, security };
}

/** Express as it is: what somebody else runs, or the twin of a secured app. */
export function bare(routes: (app: Express) => void = () => undefined): Site {
  const app = express();
  app.get("/", (_req, res) => void res.type("html").send(html("")));
  routes(app);
  return { app };
}

/**
 * A page. It names an empty icon, or the browser would ask for /favicon.ico at some later moment, by a request of its own that gets
 * headers too: over https after an upgrade, it would teach the browser what the page has not.
 */
export const html = (body: string): string =>
  `<!doctype html><html lang="en"><meta charset="utf-8"><title>page</title><link rel="icon" href="data:,"><body>${body}</body></html>`;

/** A parameter of the address. */
export function asked(req: Request, name: string): string {
  const value = req.query[name];
  return typeof value === "string" ? value : "";
}
