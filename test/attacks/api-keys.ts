import type { CreateInput } from "portcullis";
import { checksum } from "../../src/api-key/keys/format.js";
import { forged } from "../api-key/support.js";
import { FAILURES, type Lab } from "./app.js";
import { type Ask, type Attack, type Group, json, MARK, type Outcome, type Seen, SERVED } from "./attack.js";

const INVALID: Outcome = { refused: "invalid-credentials" };

const withKey = (key: string | string[], more: Ask = {}): Ask => ({
  ...more,
  headers: { ...more.headers, "X-API-Key": key },
});

/** A good key, presented wrongly. */
const presented = (name: string, reference: string, outcome: Outcome, ask: (key: string) => Ask): Attack => ({
  name,
  reference,
  sequence: async (lab, twin) => {
    const { key } = await lab.key();
    return lab.send(twin ? withKey(key) : ask(key));
  },
  outcome,
  twin: { differs: "the key alone in X-API-Key", outcome: SERVED },
});

const ordinary = (): Partial<CreateInput> => ({});

/** A key that was good until something happened. */
const dead = (
  name: string,
  reference: string,
  input: (lab: Lab) => Partial<CreateInput>,
  happens: (lab: Lab, id: string) => unknown,
): Attack => ({
  name,
  reference,
  sequence: async (lab, twin) => {
    const { key, record } = await lab.key(input(lab));
    // Remembered first, so that what is forgotten too late shows.
    await lab.send(withKey(key));
    if (!twin) await happens(lab, record.id);
    return lab.send(withKey(key));
  },
  outcome: INVALID,
  twin: { differs: "it did not happen", outcome: SERVED },
});

/** Everything of an answer but what is different each time. */
function told({ status, headers, text }: Seen): string {
  const rest = Object.entries(headers).filter(([name]) => !["date", "ratelimit", "ratelimit-policy"].includes(name));
  return JSON.stringify([status, rest, text]);
}

/** What a key costs the service: [status, store look-ups, hashes]. */
async function work(lab: Lab, key: string): Promise<number[]> {
  lab.store.gets = 0;
  lab.hashing.mockClear();
  const { status } = await lab.send(withKey(key));
  return [status, lab.store.gets, lab.hashes];
}

/** A key of the right form and checksum with an id that nobody has. */
function invented(): string {
  const body = `mcp_${"Zz".repeat(6)}${"q".repeat(32)}`;
  return body + checksum(body);
}

export const apiKeys: Group = {
  title: "API keys as credentials",
  attacks: [
    {
      name: "enumeration by the answer",
      reference: "CWE-204",
      sequence: async (lab) => {
        const [good, revoked, expired] = [
          await lab.key(),
          await lab.key(),
          await lab.key({ expiresAt: lab.clock.now() + 1000 }),
        ];
        await lab.security.apiKeys.revoke(revoked.record.id);
        lab.clock.advance(1000);
        const answers = [];
        for (const key of ["mcp_x", invented(), forged(good.key, 1), revoked.key, expired.key])
          answers.push(told(await lab.send(withKey(key))));
        return [new Set(answers).size, JSON.parse(answers[0] ?? "[]")[0], (await lab.send(withKey(good.key))).status];
      },
      outcome: { holds: "malformed, unknown, wrong, revoked, expired: one answer", evidence: [1, 401, 200] },
    },
    {
      name: "enumeration by timing: what garbage costs",
      reference: "CWE-208",
      sequence: async (lab) => {
        const { key } = await lab.key();
        const spoilt = key.slice(0, -1) + (key.endsWith("0") ? "1" : "0");
        return [
          await work(lab, "mcp_"),
          await work(lab, `mcp_${"A".repeat(50)}`),
          await work(lab, spoilt),
          await work(lab, key),
        ];
      },
      outcome: {
        holds: "neither store nor hash is reached",
        evidence: [
          [401, 0, 0],
          [401, 0, 0],
          [401, 0, 0],
          [200, 1, 1],
        ],
      },
    },
    {
      name: "enumeration by timing: what a guessed secret costs",
      reference: "CWE-208",
      sequence: async (lab) => {
        const { key } = await lab.key();
        const idEnd = "mcp_".length + 12;
        const guess = (secret: string): string => key.slice(0, idEnd) + secret + checksum(key.slice(0, idEnd) + secret);
        const secret = key.slice(idEnd, -6);
        const flipped = (at: number): string =>
          secret.slice(0, at) + (secret[at] === "0" ? "1" : "0") + secret.slice(at + 1);
        return [
          await work(lab, guess(flipped(0))),
          await work(lab, guess(flipped(secret.length - 1))),
          await work(lab, guess(secret)),
        ];
      },
      outcome: {
        holds: "as much when nearly right as when all wrong",
        evidence: [
          [401, 1, 1],
          [401, 1, 1],
          [200, 1, 1],
        ],
      },
    },
    {
      name: "a flood of keys with a good checksum against argon2",
      reference: "keycloak/keycloak#28477",
      sequence: async (lab) => {
        const { key } = await lab.key();
        const other = await lab.key({ ownerId: "bystander" });
        lab.hashing.mockClear();
        const flood = Array.from({ length: 95 }, (_, i) => lab.send(withKey(forged(key, i))));
        // While it goes on: another client with another key, which is not remembered yet.
        const bystander = await lab.send(withKey(other.key, { headers: { "X-Forwarded-For": lab.anotherAddress() } }));
        const statuses = new Set((await Promise.all(flood)).map(({ status }) => status));
        // One address holds 51 places of the queue at most, and after 20 failures it gets none: 71, the bystander's, and some that
        // end between the two.
        const bounded = lab.hashes <= 80;
        lab.hashing.mockClear();
        const after = await lab.send(withKey(forged(key, 1000)));
        return { bystander: bystander.status, admitted: statuses.has(200), bounded, after: [after.status, lab.hashes] };
      },
      outcome: {
        holds: "others are served; the flood of 95 costs 80 hashes at most, then 429 and none",
        evidence: { bystander: 200, admitted: false, bounded: true, after: [429, 0] },
      },
    },
    {
      name: "keys guessed one after the other",
      reference: "CWE-307",
      sequence: async (lab, twin) => {
        const { key } = await lab.key();
        for (let i = 0; i < FAILURES; i += 1) await lab.send(withKey(`mcp_${i}`));
        return lab.send(withKey(key, { headers: twin ? { "X-Forwarded-For": lab.anotherAddress() } : {} }));
      },
      outcome: { refused: "rate-limited" },
      twin: { differs: "from an address that did not guess", outcome: SERVED },
    },
    {
      name: "the owner locked out by wrong guesses at the key",
      reference: "V6.1.1",
      sequence: async (lab) => {
        const { key } = await lab.key();
        await lab.send(withKey(key));
        const owner = lab.address;
        // One guess from each of many addresses: as many as are taken for one key id, and some more.
        for (let i = 0; i < FAILURES * 5 + 5; i += 1)
          await lab.send(withKey(forged(key, i), { headers: { "X-Forwarded-For": lab.anotherAddress() } }));
        const guess = await lab.send(
          withKey(forged(key, 999), { headers: { "X-Forwarded-For": lab.anotherAddress() } }),
        );
        return [guess.status, (await lab.send(withKey(key, { headers: { "X-Forwarded-For": owner } }))).status];
      },
      outcome: { holds: "429 for the guesser, 200 for the owner", evidence: [429, 200] },
    },
    presented("a key in the query", "V14.2.1", { refused: "missing-credentials" }, (key) => ({
      path: `/guarded?api_key=${key}&x-api-key=${key}`,
    })),
    presented("a key in a cookie", "CWE-352", { refused: "missing-credentials" }, (key) => ({
      headers: { Cookie: `X-API-Key=${key}; api_key=${key}` },
    })),
    presented("two keys in two lines", "V15.3.7", { refused: "ambiguous-credentials" }, (key) =>
      withKey([key, `mcp_${MARK}`]),
    ),
    presented("two keys in one line", "V15.3.7", { refused: "ambiguous-credentials" }, (key) =>
      withKey(`${key}, mcp_${MARK}`),
    ),
    presented("a key in either header", "RFC 6750 2", { refused: "ambiguous-credentials" }, (key) =>
      withKey(key, { headers: { Authorization: `Bearer ${key}` } }),
    ),
    presented("a key in another case", "CWE-178", INVALID, (key) => withKey(key.toUpperCase())),
    presented("a key with something after it", "CWE-187", INVALID, (key) => withKey(`${key}${MARK}`)),
    dead("a revoked key that is still remembered", "CWE-613", ordinary, (lab, id) => lab.security.apiKeys.revoke(id)),
    dead("a rotated key without grace", "CWE-613", ordinary, (lab, id) =>
      lab.security.apiKeys.rotate(id, { graceSeconds: 0 }),
    ),
    dead("a rotated key after its grace", "CWE-613", ordinary, async (lab, id) => {
      await lab.security.apiKeys.rotate(id, { graceSeconds: 60 });
      lab.clock.advance(60_000);
    }),
    dead(
      "an expired key that is still remembered",
      "CWE-613",
      (lab) => ({ expiresAt: lab.clock.now() + 5000 }),
      (lab) => lab.clock.advance(5000),
    ),
    {
      name: "a stolen key from an address that is not on its list",
      reference: "V15.3.4",
      sequence: async (lab, twin) => {
        const { key } = await lab.key({ allow: ["203.0.113.64/28"] });
        return lab.send(
          withKey(key, {
            headers: { "X-Forwarded-For": twin ? `${lab.address}, 203.0.113.70` : `203.0.113.70, ${lab.address}` },
          }),
        );
      },
      outcome: INVALID,
      twin: { differs: "the proxy wrote the address on the list", outcome: SERVED },
    },
    {
      name: "a key reaches for a scope that only begins like its own",
      reference: "CWE-187",
      sequence: async (lab, twin) =>
        lab.send(withKey((await lab.key({ scopes: [twin ? "orders:*" : "orders:rea"] })).key, { path: "/orders" })),
      outcome: { refused: "insufficient-scope" },
      twin: { differs: "the scope", outcome: SERVED },
    },
    {
      name: "a key made usable by a role in a header",
      reference: "V8.3.1",
      sequence: async (lab, twin) =>
        lab.send(
          withKey((await lab.key({ roles: twin ? ["admin"] : [] })).key, {
            path: "/admin",
            headers: { "X-Role": "admin", "X-User-ID": "root", "X-Scopes": "admin" },
          }),
        ),
      outcome: { refused: "insufficient-scope" },
      twin: { differs: "the key has the role", outcome: SERVED },
    },
  ],
};

/** A JSON request to the key routes, as a caller with a key. */
export function managing(key: string, path: string, body?: unknown, method = "POST"): Ask {
  return withKey(key, { ...(body === undefined ? { method } : json(body, method)), path: `/api-keys${path}` });
}
