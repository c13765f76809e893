import { APP_ORIGIN, type Lab } from "./app.js";
import { type Ask, type Attack, type Group, json, MARK, type Outcome } from "./attack.js";

const REFUSED: Outcome = { refused: "cross-origin-refused" };

const origin = (name: string, reference: string, value: string | string[], good: string = APP_ORIGIN): Attack => ({
  name,
  reference,
  ask: { path: "/public", headers: { Origin: value } },
  twin: { headers: { Origin: good } },
  outcome: REFUSED,
});

const preflight = (name: string, reference: string, headers: Record<string, string>, twin: Ask): Attack => ({
  name,
  reference,
  ask: {
    method: "OPTIONS",
    path: "/public",
    headers: { Origin: APP_ORIGIN, "Access-Control-Request-Method": "PUT", ...headers },
  },
  twin,
  served: 204,
  outcome: REFUSED,
});

/** What a page of another site makes a browser send, with the victim's cookie. */
const forged = (name: string, reference: string, headers: Ask["headers"], change: Ask["headers"]): Attack => ({
  name,
  reference,
  sequence: async (lab: Lab, twin) =>
    lab.send({ method: "POST", headers: { Cookie: await lab.logIn(), ...headers, ...(twin ? change : {}) } }),
  outcome: REFUSED,
  twin: { differs: Object.keys(change ?? {}).join(), outcome: { served: 200 } },
});

/** Vary of an answer, which a shared cache keys by, and whose page may read it. */
async function cached(lab: Lab, headers: Ask["headers"]): Promise<unknown> {
  const answer = await lab.send({ path: "/public", headers });
  return [answer.status, answer.headers.vary, answer.headers["access-control-allow-origin"] ?? "nobody"];
}

export const origins: Group = {
  title: "Origins: CORS, caches and forged requests",
  attacks: [
    origin("another site's page reads", "CWE-942", `https://${MARK}.example`),
    origin("our origin as the beginning of another", "CWE-187", `${APP_ORIGIN}.${MARK}.example`),
    origin("our origin as the end of another label", "CWE-187", "https://evilapp.example.com"),
    origin(
      "a wildcard's name as the end of another label",
      "golang/vulndb#2806",
      "https://evilapps.example.com",
      "https://evil.apps.example.com",
    ),
    origin("a wildcard's parent", "CWE-187", "https://apps.example.com", "https://a.apps.example.com"),
    origin("any character in the place of a dot", "middyjs/middy#1213", "https://appxexample.com"),
    origin("the origin null of a sandboxed frame", "CWE-942", "null"),
    origin("our origin by http", "CVE-2025-47909", "http://app.example.com"),
    origin("our origin on another port", "CWE-346", `${APP_ORIGIN}:8443`),
    origin("user information before the host", "golang/go#78563", `https://${MARK}@app.example.com`),
    origin("our origin, then a character that Safari takes in a host", "CWE-625", `${APP_ORIGIN}\`.${MARK}.example`),
    origin("our origin, then an underscore", "CWE-625", `${APP_ORIGIN}_.${MARK}.example`),
    origin("our origin with a closing dot", "CWE-1289", `${APP_ORIGIN}.`),
    origin("our origin with a path", "RFC 6454 6.2", `${APP_ORIGIN}/${MARK}`),
    origin("two Origin lines, one of them ours", "RFC 6454 7.2", [APP_ORIGIN, `https://${MARK}.example`]),
    origin("a page of a browser's extension", "CWE-942", `chrome-extension://${MARK}`),
    preflight(
      "a preflight for a method that is not allowed",
      "google/go-safeweb#372",
      { "Access-Control-Request-Method": "PROPFIND" },
      { headers: { "Access-Control-Request-Method": "PUT" } },
    ),
    preflight(
      "a preflight for a list of methods in one",
      "google/go-safeweb#372",
      { "Access-Control-Request-Method": `PUT, ${MARK}` },
      { headers: { "Access-Control-Request-Method": "PUT" } },
    ),
    preflight(
      "a preflight for a header that is not allowed",
      "CWE-942",
      { "Access-Control-Request-Headers": MARK },
      { headers: { "Access-Control-Request-Headers": "x-api-key" } },
    ),
    preflight(
      "a preflight of nothing but commas",
      "rs/cors#170",
      { "Access-Control-Request-Headers": ",".repeat(12_000) },
      { headers: { "Access-Control-Request-Headers": ",content-type" } },
    ),
    {
      name: "a shared cache filled without Origin, then with one",
      reference: "expressjs/cors#330",
      sequence: async (lab) => [
        await cached(lab, {}),
        await cached(lab, { Origin: APP_ORIGIN }),
        await cached(lab, { Origin: `https://${MARK}.example` }),
      ],
      outcome: {
        holds: "every answer varies by Origin",
        evidence: [
          [200, "Origin", "nobody"],
          [200, "Origin", APP_ORIGIN],
          [403, "Origin, Accept", "nobody"],
        ],
      },
    },
    {
      name: "a shared cache filled by the answer that gives out a session",
      reference: "V14.3.2",
      sequence: async (lab) => {
        const answer = await lab.send({ method: "POST", path: "/note" });
        return [answer.status, answer.headers["set-cookie"]?.length, answer.headers["cache-control"]];
      },
      outcome: { holds: "no-store beside Set-Cookie", evidence: [200, 1, "no-store"] },
    },
    forged(
      "a form of another site, by Sec-Fetch-Site",
      "CWE-352",
      { "Sec-Fetch-Site": "cross-site" },
      { "Sec-Fetch-Site": "same-origin" },
    ),
    forged(
      "a form of another site, by Origin",
      "CWE-352",
      { Origin: `https://${MARK}.example` },
      { Origin: "https://api.example.com" },
    ),
    forged(
      "a form of a sibling subdomain",
      "CWE-352",
      { "Sec-Fetch-Site": "same-site" },
      { "Sec-Fetch-Site": "same-origin" },
    ),
    forged("a form of a sandboxed frame", "CWE-352", { Origin: "null" }, { Origin: "https://api.example.com" }),
    forged(
      "a form of our host by plain http",
      "CVE-2025-47909",
      { Origin: "http://api.example.com" },
      { Origin: "https://api.example.com" },
    ),
    forged(
      "a reloaded form that Safari calls same-origin",
      "WebKit/WebKit#60289",
      { "Sec-Fetch-Site": "same-origin", Origin: `https://${MARK}.example` },
      { Origin: "https://api.example.com" },
    ),
    forged("a Sec-Fetch-Site nobody has heard of", "CWE-184", { "Sec-Fetch-Site": MARK }, { "Sec-Fetch-Site": "none" }),
    forged(
      "two Sec-Fetch-Site lines",
      "V15.3.7",
      { "Sec-Fetch-Site": ["same-origin", "cross-site"] },
      { "Sec-Fetch-Site": ["same-origin"] },
    ),
    forged(
      "the host of the form in X-Forwarded-Host",
      "CWE-348",
      { Origin: `https://${MARK}.example`, "X-Forwarded-Host": `${MARK}.example` },
      { Origin: "https://api.example.com" },
    ),
    {
      name: "login CSRF: the victim is logged in as the attacker",
      reference: "CWE-352",
      ask: {
        ...json({ user: "mallory", password: "battery staple" }),
        path: "/login",
        headers: { "Content-Type": "application/json", "Sec-Fetch-Site": "cross-site" },
      },
      twin: { headers: { "Sec-Fetch-Site": "same-origin" } },
      outcome: REFUSED,
    },
    {
      name: "a key made by a form of text that reads as JSON",
      reference: "V3.5.2",
      sequence: async (lab, twin) =>
        lab.send({
          ...json({ name: MARK }),
          path: "/api-keys",
          headers: { Cookie: await lab.logIn(), "Content-Type": twin ? "application/json" : "text/plain" },
        }),
      outcome: { refused: "unsupported-media-type" },
      twin: { differs: "Content-Type", outcome: { served: 201 } },
    },
    {
      name: "cross-site tracing",
      reference: "V13.4.4",
      sequence: async (lab) => {
        const { status, text } = await lab.send({ method: "TRACE", path: "/public", headers: { Cookie: `a=${MARK}` } });
        return [status, text.includes(MARK)];
      },
      outcome: { holds: "404, nothing of the request in it", evidence: [404, false] },
    },
  ],
};
