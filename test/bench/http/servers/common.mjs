/**
 * What all servers of the benchmark share: the settings they are given, the policy they enforce, and how they talk to the
 * harness. Plain JavaScript, so that every supported Node runs it as it is, without a loader in the measured process.
 *
 * All of them stand behind one proxy that ends TLS, as such an app does in production: address and scheme come from
 * X-Forwarded-For and X-Forwarded-Proto, cookies are Secure, HSTS is sent.
 */
import { createHash, generateKeyPairSync, randomBytes } from "node:crypto";

/**
 * @typedef {object} Settings
 * @property {string} variant which of the servers in the file
 * @property {number} limit requests a client may make in a window
 * @property {"HS256" | "ES256"} algorithm of the access tokens
 * @property {string} [portcullis] what to import as portcullis, when not the built package
 */

/** @type {Settings} */
export const settings = {
  variant: "",
  limit: 1_000_000_000,
  algorithm: "HS256",
  ...JSON.parse(process.argv[2] ?? "{}"),
};

export const SECRET = "wFq2nXr7Jt5LkV9mZbY3cHd8sPgRa4eUo6iTxQyWv1K0";
export const HOST = "api.example.com";
export const ORIGIN = "https://app.example.com";
export const ISSUER = "https://api.example.com";
export const USER = "ada";
export const WINDOW_SECONDS = 60;
export const SESSION_SECONDS = 3600;

export const CORS = Object.freeze({
  origins: [ORIGIN],
  methods: ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"],
  allowedHeaders: ["Authorization", "Content-Type", "X-API-Key"],
  exposedHeaders: ["RateLimit", "RateLimit-Policy", "Retry-After"],
  maxAge: 600,
});

/** The Content-Security-Policy that portcullis sends when nothing is set; the others are told to send the same. */
export const CSP = Object.freeze({
  "default-src": ["'self'"],
  "base-uri": ["'none'"],
  "object-src": ["'none'"],
  "frame-ancestors": ["'none'"],
  "form-action": ["'self'"],
  "script-src": ["'self'"],
  "script-src-attr": ["'none'"],
  "style-src": ["'self'"],
  "img-src": ["'self'", "data:"],
  "font-src": ["'self'"],
  "upgrade-insecure-requests": [],
});

/** The browser features that portcullis denies when nothing is set. */
const FEATURES =
  "accelerometer bluetooth camera display-capture geolocation gyroscope hid idle-detection local-fonts magnetometer microphone midi payment screen-wake-lock serial usb window-management xr-spatial-tracking".split(
    " ",
  );
/** helmet has no Permissions-Policy: one sets it by hand. */
export const PERMISSIONS_POLICY = FEATURES.map((feature) => `${feature}=()`).join(", ");

/** helmet with the headers, and the values, of portcullis; its four for Internet Explorer and Flash are left out. */
export const HELMET = Object.freeze({
  contentSecurityPolicy: { useDefaults: false, directives: CSP },
  xFrameOptions: { action: "deny" },
  xDnsPrefetchControl: false,
  xDownloadOptions: false,
  xPermittedCrossDomainPolicies: false,
  originAgentCluster: false,
});

/** Every header that protects, as written by portcullis. */
export const PROTECTIVE_HEADERS = Object.freeze({
  "Content-Security-Policy": Object.entries(CSP)
    .map(([name, sources]) => [name, ...sources].join(" "))
    .join(";"),
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Resource-Policy": "same-origin",
  "Referrer-Policy": "no-referrer",
  "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
  "X-Content-Type-Options": "nosniff",
  "X-Frame-Options": "DENY",
  "X-XSS-Protection": "0",
  "Permissions-Policy": PERMISSIONS_POLICY,
});

/** The body of a refusal. @param {string} code @param {number} status @param {string} title */
function problem(code, status, title) {
  return Object.freeze({ type: `urn:problem-type:example:${code}`, title, status, code });
}

export const UNTRUSTED_HOST = problem("untrusted-host", 400, "Untrusted host");
export const RATE_LIMITED = problem("rate-limited", 429, "Too many requests");
export const INVALID_CREDENTIALS = problem("invalid-credentials", 401, "Invalid credentials");
export const MISSING_CREDENTIALS = problem("missing-credentials", 401, "Credentials required");
export const CHALLENGE = 'ApiKey realm="api", Bearer realm="api"';

const keys = settings.algorithm === "ES256" ? generateKeyPairSync("ec", { namedCurve: "P-256" }) : undefined;
/** What signs and what verifies, as text: that is what the READMEs of the JWT packages pass on. */
export const SIGNING_KEY = keys ? keys.privateKey.export({ type: "pkcs8", format: "pem" }).toString() : SECRET;
export const VERIFYING_KEY = keys ? keys.publicKey.export({ type: "spki", format: "pem" }).toString() : SECRET;

/** Claims of an access token, as many as portcullis writes. */
export function claims() {
  const now = Math.floor(Date.now() / 1000);
  return {
    iss: ISSUER,
    sub: USER,
    aud: ISSUER,
    iat: now,
    exp: now + 1800,
    jti: randomBytes(16).toString("base64url"),
    scope: "read",
    fam: randomBytes(16).toString("base64url"),
  };
}

/** A table of API keys as one makes it at home: SHA-256 of a long random key, looked up in a Map. */
export function homeMadeKeys() {
  const key = `mcp_${randomBytes(36).toString("base64url")}`;
  const owners = new Map([[digest(key), USER]]);
  return {
    key,
    badKey: `${key.slice(0, -1)}${key.endsWith("A") ? "B" : "A"}`,
    /** @param {string} text */ ownerOf: (text) => owners.get(digest(text)),
  };
}

/** @param {string} text */
function digest(text) {
  return createHash("sha256").update(text).digest("hex");
}

/**
 * Listens on a private port, tells the harness, and answers its questions about the work done.
 *
 * @param {import("node:http").Server} server
 * @param {Record<string, string>} credentials that this server takes
 */
export function serve(server, credentials = {}) {
  let requests = 0;
  server.prependListener("request", () => {
    requests += 1;
  });
  process.on("message", () => process.send?.({ ...process.cpuUsage(), requests, at: performance.now() }));
  process.on("disconnect", () => process.exit(0));
  const ready = () => {
    const address = server.address();
    process.send?.({ port: typeof address === "object" && address !== null ? address.port : 0, credentials });
  };
  if (server.listening) ready();
  else server.listen(0, "127.0.0.1", ready);
}
