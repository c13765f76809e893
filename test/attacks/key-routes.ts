import type { CreateApiKeyInput } from "portcullis";
import { managing } from "./api-keys.js";
import type { Lab } from "./app.js";
import { type Attack, type Group, MARK, type Outcome, SERVED } from "./attack.js";

const MANAGE = "api-keys:manage";
const BEYOND: Outcome = { refused: "insufficient-scope" };
const UNKNOWN: Outcome = { refused: "not-found" };
const FORM: Outcome = { refused: "invalid-request" };

/** A caller with a key that may manage keys asks for one that can do more. The twin asks for what the caller has. */
const escalation = (name: string, own: Partial<CreateApiKeyInput>, wanted: object, within: object): Attack => ({
  name,
  reference: "CWE-269",
  sequence: async (lab, twin) => {
    const { key } = await lab.key({ ...own, scopes: [MANAGE, ...(own.scopes ?? [])] });
    return lab.send(managing(key, "", { name: "x", ...(twin ? within : wanted) }));
  },
  outcome: BEYOND,
  twin: { differs: Object.keys(wanted).join(), outcome: { served: 201 } },
});

/** A body with a field that is the service's to say. */
const assignment = (name: string, field: object): Attack => ({
  name,
  reference: "CVE-2025-61928",
  sequence: async (lab, twin) => {
    const { key } = await lab.key({ scopes: [MANAGE] });
    return lab.send(managing(key, "", { name: "x", ...(twin ? {} : field) }));
  },
  outcome: FORM,
  twin: { differs: "without the field", outcome: { served: 201 } },
});

/** Somebody else's key by its id, or something that looks like one. */
const foreign = (
  name: string,
  reference: string,
  act: (id: string) => readonly [path: string, method: string],
  served: number,
  make = (lab: Lab) => lab.key({ ownerId: "victim" }),
): Attack => ({
  name,
  reference,
  sequence: async (lab, twin) => {
    const { key } = await lab.key({ scopes: [MANAGE] });
    const { record } = twin ? await lab.key() : await make(lab);
    const [path, method] = act(record.id);
    return lab.send(managing(key, path, undefined, method));
  },
  outcome: UNKNOWN,
  twin: { differs: "the key is the caller's own", outcome: { served } },
});

/** An id that is none, in the path. */
const badId = (name: string, reference: string, id: string, outcome: Outcome = UNKNOWN): Attack => ({
  name,
  reference,
  sequence: async (lab, twin) => {
    const { key, record } = await lab.key({ scopes: [MANAGE] });
    return lab.send(managing(key, `/${twin ? record.id : id}`, undefined, "GET"));
  },
  outcome,
  twin: { differs: "the id", outcome: SERVED },
});

const query = (name: string, reference: string, bad: string, good: string): Attack => ({
  name,
  reference,
  sequence: async (lab, twin) => {
    const { key } = await lab.key({ scopes: [MANAGE] });
    return lab.send(managing(key, twin ? good : bad, undefined, "GET"));
  },
  outcome: FORM,
  twin: { differs: "the query", outcome: SERVED },
});

const limit = { limit: 10, windowSeconds: 60 };
const soon = Date.UTC(2136, 0, 1);

export const keyRoutes: Group = {
  title: "Key routes: escalation, mass assignment, other people's keys",
  attacks: [
    escalation(
      "a key with a scope its maker lacks",
      { scopes: ["read"] },
      { scopes: ["orders:write"] },
      { scopes: ["read"] },
    ),
    escalation(
      "a wildcard from one scope",
      { scopes: ["orders:read"] },
      { scopes: ["orders:*"] },
      { scopes: ["orders:read"] },
    ),
    escalation(
      "a scope that only begins like the maker's",
      { scopes: ["orders:*"] },
      { scopes: ["orders-admin:write"] },
      { scopes: ["orders:write"] },
    ),
    escalation("a key with a role its maker lacks", { roles: ["reader"] }, { roles: ["admin"] }, { roles: ["reader"] }),
    escalation("a key that outlives its maker", { expiresAt: soon }, { expiresAt: soon + 1 }, { expiresAt: soon }),
    escalation(
      "a key for more addresses than its maker's",
      { allow: ["198.18.0.0/15"] },
      { allow: ["0.0.0.0/0"] },
      { allow: ["198.18.7.1"] },
    ),
    escalation(
      "a key with a looser limit than its maker's",
      { rateLimit: limit },
      { rateLimit: { ...limit, limit: 1000 } },
      { rateLimit: limit },
    ),
    {
      name: "an ordinary key makes keys",
      reference: "CWE-269",
      sequence: async (lab, twin) =>
        lab.send(managing((await lab.key({ scopes: [twin ? MANAGE : "read"] })).key, "", { name: "x" })),
      outcome: BEYOND,
      twin: { differs: "the key may manage keys", outcome: { served: 201 } },
    },
    {
      name: "a mightier key of the same owner, by rotating it",
      reference: "CWE-269",
      sequence: async (lab, twin) => {
        const { key } = await lab.key({ scopes: [MANAGE, "read"] });
        const { record } = await lab.key({ scopes: [twin ? "read" : "orders:*"] });
        return lab.send(managing(key, `/${record.id}/rotate`));
      },
      outcome: BEYOND,
      twin: { differs: "the other key can do no more", outcome: { served: 201 } },
    },
    {
      name: "a revoked key makes keys while it is remembered",
      reference: "CWE-613",
      sequence: async (lab, twin) => {
        const { key, record } = await lab.key({ scopes: [MANAGE] });
        await lab.send(managing(key, "", undefined, "GET"));
        // As another process would: nobody tells this one.
        if (!twin) await lab.store.revoke(record.id, lab.clock.now(), "stolen");
        return lab.send(managing(key, "", { name: "x" }));
      },
      outcome: { refused: "invalid-credentials" },
      twin: { differs: "it was not revoked", outcome: { served: 201 } },
    },
    assignment("a key for somebody else", { ownerId: MARK }),
    assignment("a key under an id of one's own choosing", { id: "AAAAAAAAAAAA" }),
    assignment("a key whose digest is known", { hash: { algorithm: "hmac-sha256", digest: MARK } }),
    assignment("a key that is never revoked", { revokedAt: null, enabled: true }),
    foreign("somebody else's key shown", "CWE-639", (id) => [`/${id}`, "GET"], 200),
    foreign("somebody else's key revoked", "CWE-639", (id) => [`/${id}`, "DELETE"], 204),
    foreign("somebody else's key rotated", "CWE-639", (id) => [`/${id}/rotate`, "POST"], 201),
    {
      name: "which ids exist, by the answer",
      reference: "CWE-204",
      sequence: async (lab) => {
        const { key } = await lab.key({ scopes: [MANAGE] });
        const { record } = await lab.key({ ownerId: "victim" });
        const [theirs, nobodys] = [
          await lab.send(managing(key, `/${record.id}`, undefined, "GET")),
          await lab.send(managing(key, "/AAAAAAAAAAAA", undefined, "GET")),
        ];
        return [theirs.status, theirs.text === nobodys.text, theirs.status === nobodys.status];
      },
      outcome: { holds: "a foreign key is as unknown as none", evidence: [404, true, true] },
    },
    badId("an id that walks up the path", "CWE-22", `..%2f..%2f${MARK}`),
    badId("an id with a NUL", "CWE-626", `AAAAAA%00${MARK}`),
    badId("an id with a quote", "CWE-89", `${MARK}'--`),
    badId("an id of markup", "CWE-79", `%3Cscript%3E${MARK}`),
    badId("an id that names what every object has", "CWE-1321", "__proto__"),
    badId("an id that is no percent-encoding", "CWE-209", `%ZZ${MARK}`, FORM),
    query("the list of somebody else's keys", "CWE-639", "?ownerId=victim", "?limit=5"),
    query("a list without end", "CWE-770", "?limit=100000", "?limit=100"),
    query("two limits", "V15.3.7", "?limit=1&limit=2", "?limit=1"),
    query("an operator in place of an id", "CWE-943", `?after[$ne]=${MARK}`, "?after=AAAAAAAAAAAA"),
    {
      name: "a digest, or a key, in an answer",
      reference: "V15.3.1",
      sequence: async (lab) => {
        const { key, record } = await lab.key({ scopes: [MANAGE] });
        const texts = [
          await lab.send(managing(key, "", undefined, "GET")),
          await lab.send(managing(key, `/${record.id}`, undefined, "GET")),
        ].map(({ text }) => text);
        return texts.map((text) => [text.includes(record.id), text.includes("argon2"), text.includes(key.slice(16))]);
      },
      outcome: {
        holds: "the record, without either",
        evidence: [
          [true, false, false],
          [true, false, false],
        ],
      },
    },
  ],
};
