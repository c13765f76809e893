// What it costs to verify an API key: remembered, not remembered, wrong in every way it can be wrong.
import { randomBytes } from "node:crypto";
import { built } from "../support/built.mjs";
import { interleave, median, ratio } from "../support/interleave.mjs";
import { short, spread, table, title } from "../support/table.mjs";

const { ApiKeyService } = await built("api-key/service.js");
const { checksum } = await built("api-key/keys/checksum.js");

const ADDRESS = "198.51.100.7";
const secret = randomBytes(32).toString("base64url");
/** As many failures as can be set, in the shortest window: what is measured is the work before and beside that limit. */
const failures = { limit: 10_000, windowSeconds: 1 };

const services = [];
function service(settings) {
  const made = new ApiKeyService({ secret, failures, ...settings });
  services.push(made);
  return made;
}

const cold = Object.fromEntries(["argon2id", "hmac-sha256"].map((hash) => [hash, service({ hash, cacheSeconds: 0 })]));
const warm = service({ hash: "argon2id", cacheSeconds: 60 });
const limited = service({ hash: "hmac-sha256", cacheSeconds: 60 });

const input = { ownerId: "user-1", name: "bench", scopes: ["orders:read"] };
const coldKeys = {
  argon2id: (await cold.argon2id.create(input)).key,
  "hmac-sha256": (await cold["hmac-sha256"].create(input)).key,
};
const warmKeys = await Promise.all(Array.from({ length: 16 }, () => warm.create(input).then(({ key }) => key)));
const limits = { rateLimit: { limit: 100_000, windowSeconds: 1 }, allow: ["198.51.100.0/24"] };
const limitedKeys = await Promise.all(
  Array.from({ length: 16 }, () => limited.create({ ...input, ...limits }).then(({ key }) => key)),
);

function withFreshChecksum(body) {
  return body + checksum(body);
}
const bodyOf = (key) => key.slice(0, -6);
const flipped = (character) => (character === "A" ? "B" : "A");
const badChecksum = warmKeys[0].slice(0, -1) + flipped(warmKeys[0].at(-1));
const unknownId = withFreshChecksum(bodyOf(warmKeys[0]).replace(/^mcp_.{12}/, "mcp_0123456789AB"));
const wrongSecret = withFreshChecksum(
  bodyOf(coldKeys["hmac-sha256"]).slice(0, -1) + flipped(bodyOf(coldKeys["hmac-sha256"]).at(-1)),
);

await check(warm, warmKeys, "ok");
await check(limited, limitedKeys, "ok");
await check(cold.argon2id, [coldKeys.argon2id], "ok");
await check(cold["hmac-sha256"], [coldKeys["hmac-sha256"]], "ok");
await check(warm, [badChecksum, "", "mcp_short"], "malformed");
await check(warm, [unknownId], "unknown");
await check(cold["hmac-sha256"], [wrongSecret], "mismatch");

let turn = 0;
const rows = [
  {
    name: "warm, remembered",
    operations: 100,
    run: () => repeat(100, () => warm.check(warmKeys[(turn = (turn + 1) & 15)], ADDRESS)),
  },
  {
    name: "warm, with a limit and a range of its own",
    operations: 100,
    run: () => repeat(100, () => limited.check(limitedKeys[(turn = (turn + 1) & 15)], ADDRESS)),
  },
  {
    name: "warm, by `verify` (a promise)",
    operations: 100,
    run: () => repeatAwaiting(100, () => warm.verify(warmKeys[0], { address: ADDRESS })),
  },
  {
    name: "cold, hmac-sha256",
    operations: 100,
    run: () => repeatAwaiting(100, () => cold["hmac-sha256"].check(coldKeys["hmac-sha256"], ADDRESS)),
  },
  {
    name: "cold, argon2id (in the thread pool)",
    operations: 1,
    run: () => cold.argon2id.check(coldKeys.argon2id, ADDRESS),
  },
  { name: "wrong: checksum", operations: 100, run: () => repeat(100, () => warm.check(badChecksum, undefined)) },
  {
    name: "wrong: checksum, counted by address",
    operations: 100,
    run: () => repeat(100, () => warm.check(badChecksum, ADDRESS)),
  },
  {
    name: "wrong: unknown id",
    operations: 100,
    run: () => repeatAwaiting(100, () => warm.check(unknownId, undefined)),
  },
  {
    name: "wrong: secret, hmac-sha256",
    operations: 100,
    run: () => repeatAwaiting(100, () => cold["hmac-sha256"].check(wrongSecret, undefined)),
  },
];
title(
  "API key: microseconds for each verification",
  "One at a time, keys in the memory store, by `check` as the middleware calls it.",
);
const measured = await interleave(rows);
table(
  ["key", "µs (least–most)", "a second", "of warm"],
  measured.map(({ name, nanoseconds }) => [
    name,
    spread(nanoseconds, 1e-3),
    short(1e9 / median(nanoseconds)),
    short(ratio({ nanoseconds }, measured[0])),
  ]),
);
await Promise.all(services.map((made) => made.close()));

async function check(verifier, keys, expected) {
  for (const key of keys) {
    const result = await verifier.check(key, expected === "ok" ? ADDRESS : undefined);
    const found = result.ok ? "ok" : result.reason;
    if (found !== expected) throw new Error(`a key is ${found} instead of ${expected}`);
  }
}

function repeat(count, operation) {
  let last;
  for (let i = 0; i < count; i += 1) last = operation();
  return last;
}

async function repeatAwaiting(count, operation) {
  let last;
  for (let i = 0; i < count; i += 1) last = await operation();
  return last;
}
