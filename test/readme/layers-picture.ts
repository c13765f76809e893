import express from "express";
import { applySecurity, type LayerDescription, settingsFromEnv } from "../../src/index.js";
import { serve } from "../support/serve.js";

const SECRET_KEY = "k3Vt9sQfYb2LxWn8RzGj5HdPm7CuTa4E";
const HOST = "api.example.com";
const ORIGIN = "https://app.example.com";
const PER_PRINCIPAL = { limit: 60, windowSeconds: 60 };

/** What an app with the three variables of README.md is: its layers, and how each of them refuses a request. */
export async function picture(): Promise<string> {
  const app = express();
  const fromEnv = settingsFromEnv({ SECRET_KEY, ALLOWED_HOSTS: HOST, BACKEND_CORS_ORIGINS: ORIGIN });
  const security = applySecurity(app, [fromEnv, { rateLimit: { perPrincipal: PER_PRINCIPAL } }]);
  const { jwt } = security;
  if (jwt === undefined) throw new Error("SECRET_KEY no longer turns on JWT.");
  const refusals = new Map<string, string>();
  security.events.on("*", ({ source, code, status }) => {
    if (code !== undefined) refusals.set(source, `${status} ${code}`);
  });
  const server = await serve(app);
  try {
    const ask = (headers: Record<string, string>, method = "GET") =>
      server.send("/", { method, headers: { Host: HOST, ...headers } });
    const Authorization = `Bearer ${(await jwt.issue("ada")).accessToken}`;
    await ask({ Host: "evil.example" });
    await ask({ Origin: "https://evil.example" }, "POST");
    await ask({ "X-API-Key": "mcp_no" });
    await ask({ Authorization: "Bearer no" });
    for (let count = 0; count <= PER_PRINCIPAL.limit; count += 1) await ask({ Authorization });
    for (let count = 0; count < 100; count += 1) await ask({});
  } finally {
    await server.close();
    await security.close();
  }
  return drawn(security.describe(), refusals);
}

function drawn(layers: readonly LayerDescription[], refusals: ReadonlyMap<string, string>): string {
  const rows = layers.map(({ id, order, settings }) => {
    const refusal = refusals.get(id);
    const name = `   ├─ ${String(order).padStart(4)} ${id.padEnd(21)} ${wordsOf(id, settings)}`;
    return refusal === undefined ? name.trimEnd() : `${name.padEnd(75)} ─▶ ${refusal}`;
  });
  return ["request", "   │", ...rows, "   ▼", "your middleware, guards and routes"].join("\n");
}

/** What a layer does with its settings, in a few words. */
function wordsOf(id: LayerDescription["id"], settings: LayerDescription["settings"]): string {
  const of = settings as Record<string, string>;
  const limit = (rate: unknown, per: unknown): string => {
    const { limit, windowSeconds } = rate as typeof PER_PRINCIPAL;
    return `${limit} requests in ${windowSeconds} s per ${String(per)}`;
  };
  switch (id) {
    case "context":
      return "";
    case "headers":
      return `${Object.keys(settings["headers"] as object).length} headers`;
    case "trusted-host":
      return String(settings["hosts"]);
    case "cors":
      return `${String(settings["origins"])}${settings["credentials"] === true ? ", credentials" : ""}`;
    case "rate-limit":
      return limit(settings, settings["key"]);
    case "principal-rate-limit":
      return limit(settings["perPrincipal"], "principal");
    case "csrf":
      return `own origin, ${String(settings["trustedOrigins"])}`;
    case "session":
      return `${of["cookieName"]}, ends after ${of["maxAge"]} s unused`;
    case "api-key":
      return `${of["headerName"]}: ${of["prefix"]}…, ${of["hash"]}`;
    case "jwt":
      return `${of["algorithm"]}, ${of["accessTokenMinutes"]} min; refresh tokens ${of["refreshTokenDays"]} days`;
    case "accounts":
      return String(settings["mountPath"]);
    default:
      throw new Error(`The picture has no words for the layer ${id satisfies never as string}.`);
  }
}
