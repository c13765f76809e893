import express from "express";
import fc from "fast-check";
import { expect, it, onTestFinished, vi } from "vitest";
import { applySecurity, type SecurityEvent, type SecuritySettings } from "portcullis";
import { LAYERS } from "../../src/layers.js";
import { serve } from "../support/serve.js";
import { runs } from "./seed.js";
import { SECRETS } from "./settings-arbitraries.js";

/** The order of the layers as the documentation has it, written out here once more. */
const ORDER = [
  "context",
  "headers",
  "trusted-host",
  "cors",
  "rate-limit",
  "csrf",
  "session",
  "api-key",
  "jwt",
  "principal-rate-limit",
] as const;
type Id = (typeof ORDER)[number];
/** The protections that settings turn on and off; context always runs. */
const SWITCHED = ["headers", "trusted-host", "cors", "rate-limit", "csrf", "session", "api-key", "jwt"] as const;
/** What a request can do wrong, by the layer that refuses it, with the answer. */
const OFFENCES = {
  "trusted-host": [400, "untrusted-host"],
  cors: [403, "cross-origin-refused"],
  "rate-limit": [429, "rate-limited"],
  csrf: [403, "cross-origin-refused"],
  session: [400, "ambiguous-credentials"],
  "api-key": [401, "invalid-credentials"],
  jwt: [401, "invalid-credentials"],
  "principal-rate-limit": [429, "rate-limited"],
} as const;
type Offence = keyof typeof OFFENCES;

function settingsFor(on: ReadonlySet<string>, mode: "enforce" | "report") {
  const when = <T extends object>(id: string, settings: T) => (on.has(id) ? { ...settings, mode } : (false as const));
  const proves = ["session", "api-key", "jwt"].some((id) => on.has(id));
  return {
    secretKey: SECRETS.root,
    trustProxy: 1,
    headers: when("headers", {}),
    trustedHosts: when("trusted-host", { hosts: ["api.example"] }),
    cors: when("cors", { origins: ["https://app.example"], refused: "reject" as const }),
    rateLimit: when("rate-limit", {
      limit: 1,
      windowSeconds: 3600,
      ...(proves ? { perPrincipal: { limit: 1, windowSeconds: 3600 } } : {}),
    }),
    csrf: when("csrf", {}),
    session: when("session", {}),
    apiKeys: when("api-key", { hash: "hmac-sha256" as const }),
    jwt: when("jwt", {}),
  } satisfies SecuritySettings;
}

/** A request that commits these offences, from a client and with a token of its own choice. */
function requestWith(
  offences: ReadonlySet<string>,
  { address, token }: { address: string; token: string | undefined },
): Record<string, string> {
  const authorization = offences.has("jwt")
    ? "Bearer not.a.token"
    : token === undefined
      ? undefined
      : `Bearer ${token}`;
  return {
    host: offences.has("trusted-host") ? "evil.example" : "api.example",
    "x-forwarded-for": address,
    "sec-fetch-site": offences.has("csrf") ? "cross-site" : "none",
    ...(offences.has("cors") ? { origin: "https://other.example" } : {}),
    ...(offences.has("session") ? { cookie: "__Host-mcp_session=s%3Aa.b; __Host-mcp_session=s%3Ac.d" } : {}),
    ...(offences.has("api-key") ? { "x-api-key": "mcp_not-a-key" } : {}),
    ...(authorization === undefined ? {} : { authorization }),
  };
}

/** The layers of a subset that refuse a request with these offences, in order. */
function refusing(on: ReadonlySet<string>, offences: ReadonlySet<string>): Offence[] {
  const isOn = (id: Id) =>
    id === "principal-rate-limit" ? on.has("rate-limit") && on.has("jwt") && !offences.has("jwt") : on.has(id);
  // A page of an origin that CORS does not list is none that csrf trusts.
  const isOffended = (id: Id) => offences.has(id) || (id === "csrf" && offences.has("cors"));
  return ORDER.filter((id): id is Offence => id in OFFENCES && isOffended(id) && isOn(id));
}

async function withApp(
  on: ReadonlySet<string>,
  mode: "enforce" | "report",
  use: (
    send: (
      offences: ReadonlySet<string>,
    ) => Promise<{ status: number; body: string; nosniff: boolean; refusals: SecurityEvent[]; reached: boolean }>,
  ) => Promise<void>,
): Promise<void> {
  const app = express();
  const security = applySecurity(app, settingsFor(on, mode));
  const expected = ORDER.filter(
    (id) =>
      id === "context" ||
      on.has(id) ||
      (id === "principal-rate-limit" &&
        on.has("rate-limit") &&
        ["session", "api-key", "jwt"].some((proof) => on.has(proof))),
  );
  expect(security.describe().map(({ id }) => id)).toEqual(expected);
  const events: SecurityEvent[] = [];
  security.events.on("*", (event) => void (event.reason === "ready" ? undefined : events.push(event)));
  let reached = 0;
  app.post("/", (_req, res) => {
    reached += 1;
    res.send("reached");
  });
  await security.ready();
  const server = await serve(app);
  let client = 0;
  const fresh = () => `192.0.2.${(client = (client + 1) % 250)}`;
  try {
    const used = fresh();
    const jwt =
      "jwt" in security
        ? (security as { jwt: { issue(subject: string): Promise<{ accessToken: string }> } }).jwt
        : undefined;
    const spent = (await jwt?.issue("spent"))?.accessToken;
    // A request without offence uses up the one place of this address, and of this principal.
    expect(
      (await server.send("/", { method: "POST", headers: requestWith(new Set(), { address: used, token: spent }) }))
        .text,
    ).toBe("reached");
    await use(async (offences) => {
      events.length = 0;
      reached = 0;
      const token = offences.has("principal-rate-limit") ? spent : (await jwt?.issue(`subject-${client}`))?.accessToken;
      events.length = 0;
      const answer = await server.send("/", {
        method: "POST",
        headers: requestWith(offences, { address: offences.has("rate-limit") ? used : fresh(), token }),
      });
      return {
        status: answer.status,
        body: answer.text,
        nosniff: answer.headers["x-content-type-options"] === "nosniff",
        refusals: events.filter(({ code }) => code !== undefined),
        reached: reached > 0,
      };
    });
  } finally {
    await server.close();
    await security.close();
  }
}

const subset = fc.subarray([...SWITCHED]).map((ids) => new Set<string>(ids));
const offencesOf = fc.subarray(Object.keys(OFFENCES)).map((ids) => new Set<string>(ids));

function silence(): void {
  const spy = vi.spyOn(process, "emitWarning").mockImplementation(() => undefined);
  onTestFinished(() => spy.mockRestore());
}

it("the layers run in the documented order", () => {
  expect(LAYERS.map(({ id }) => id)).toEqual(ORDER);
});

it("in any subset of layers the first one that refuses sends its answer; if none refuses, the route runs", async () => {
  silence();
  let refused = 0;
  let passed = 0;
  await fc.assert(
    fc.asyncProperty(subset, fc.array(offencesOf, { minLength: 1, maxLength: 6 }), (on, tries) =>
      withApp(on, "enforce", async (send) => {
        for (const offences of tries) {
          const [first] = refusing(on, offences);
          const { status, body, nosniff, refusals, reached } = await send(offences);
          expect(nosniff).toBe(on.has("headers"));
          if (first === undefined) {
            passed += 1;
            expect([status, body, reached, refusals]).toEqual([200, "reached", true, []]);
            continue;
          }
          refused += 1;
          // Two credentials at once are refused by the layer that would have read the second.
          const [expectedStatus, code] =
            first === "api-key" && on.has("api-key") && (on.has("jwt") || offences.has("jwt"))
              ? [400, "ambiguous-credentials"]
              : OFFENCES[first];
          expect([status, (JSON.parse(body) as { code: string }).code, reached]).toEqual([expectedStatus, code, false]);
          expect(refusals.map(({ source }) => source)).toEqual([first]);
        }
      }),
    ),
    { numRuns: runs(60) },
  );
  expect(Math.min(refused, passed)).toBeGreaterThan(runs(60) / 8);
}, 120_000);

it("in report mode every layer that would refuse reports it, in the order of the layers, and the route runs", async () => {
  silence();
  let announced = 0;
  await fc.assert(
    fc.asyncProperty(subset, offencesOf, (on, offences) =>
      withApp(on, "report", async (send) => {
        const { status, refusals, reached } = await send(offences);
        expect([status, reached]).toEqual([200, true]);
        const order = refusals.map(({ source }) => source);
        announced += order.length;
        expect(order).toEqual(refusing(on, offences));
      }),
    ),
    { numRuns: runs(40) },
  );
  expect(announced).toBeGreaterThan(runs(40) / 2);
}, 120_000);
