import { randomBytes } from "node:crypto";
import express from "express";
import { createQuickstart } from "../../examples/quickstart/app.js";
import { serveOverTls, type OverTls } from "./over-tls.js";

/** Scanners ask faster than people do; a 429 would hide from them what is behind it. */
const UNREACHED = 100_000;

/** The quickstart as it would run in production, apart from its limits. */
export async function serveQuickstart(): Promise<OverTls> {
  const { app, security } = createQuickstart("sqlite::memory:", randomBytes(32).toString("base64url"), {
    debug: false,
    trustedHosts: ["localhost"],
    limit: UNREACHED,
    loginLimit: UNREACHED,
  });
  await security.ready();
  const target = await serveOverTls(app);
  return {
    ...target,
    close: async () => {
      await target.close();
      await security.close();
    },
  };
}

/** What every scanner here must complain about: a scanner that finds nothing in this says nothing about the quickstart. */
export function serveWeakApp(): Promise<OverTls> {
  const app = express();
  app.get("/", (req, res) => {
    const name = typeof req.query["name"] === "string" ? req.query["name"] : "nobody";
    res.setHeader("Set-Cookie", "session=1");
    res
      .type("html")
      .send(
        `<!doctype html><title>weak</title><p>Hello, ${name}!<form method="post" action="/login"><input name="user"><button>Log in</button></form><a href="/?name=ada">ada</a>`,
      );
  });
  app.post("/login", (_req, res) => void res.send("in"));
  return serveOverTls(app);
}
