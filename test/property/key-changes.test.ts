import fc from "fast-check";
import { afterAll, describe, expect, it, vi } from "vitest";
import { ApiKeyService } from "portcullis";
import { runs } from "./seed.js";
import { singleChanges } from "./single-changes.js";

vi.setConfig({ testTimeout: runs(60_000) });

const SECRET = "k3Vt9sQfYb2LxWn8RzGj5HdPm7CuTa4E";
const text = (maxLength: number) =>
  fc
    .string({ minLength: 1, maxLength, unit: "grapheme" })
    .filter((value) => value.length <= maxLength && !/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/.test(value));
const input = fc.record({
  ownerId: text(60),
  name: text(60),
  scopes: fc.uniqueArray(fc.stringMatching(/^[A-Za-z0-9._-]{1,8}(:[a-z]{1,8}){0,2}(:\*)?$/), { maxLength: 4 }),
  roles: fc.uniqueArray(fc.stringMatching(/^[A-Za-z0-9._:-]{1,16}$/), { maxLength: 3 }),
  // As JSON reads it: its numbers have no -0.
  metadata: fc
    .dictionary(fc.stringMatching(/^[a-z]{1,8}$/), fc.jsonValue({ maxDepth: 2 }), { maxKeys: 3 })
    .map((value) => JSON.stringify(value))
    .filter((json) => !json.includes("__proto__"))
    .map((json) => JSON.parse(json) as Record<string, never>),
});

describe("an API key", () => {
  const services = ["mcp_", "a_b-c_"].flatMap((prefix) =>
    [19, 32].map(
      (length) =>
        new ApiKeyService({
          prefix,
          length,
          hash: "hmac-sha256",
          secret: SECRET,
          cacheSeconds: 0,
          failures: { limit: 10_000 },
        }),
    ),
  );
  const service = fc.constantFrom(...services);
  afterAll(() => Promise.all(services.map((one) => one.close())));

  it("has the record it was created with, and no other key has", async () => {
    await fc.assert(
      fc.asyncProperty(service, input, input, async (keys, one, other) => {
        const [mine, theirs] = [await keys.create(one), await keys.create(other)];
        expect(await keys.verify(mine.key)).toMatchObject({ ok: true, record: { ...one, id: mine.record.id } });
        expect(await keys.verify(theirs.key)).toMatchObject({ ok: true, record: { ...other, id: theirs.record.id } });
        expect(
          JSON.stringify([mine.record, await keys.get(mine.record.id), await keys.list(one.ownerId)]),
        ).not.toContain(mine.key.slice(-12));
      }),
      { numRuns: runs(200) },
    );
  });

  it("with any single change is refused", async () => {
    await fc.assert(
      fc.asyncProperty(service, fc.constantFrom(..."Aa09_-. \0\u00e9"), async (keys, char) => {
        const { key } = await keys.create({ ownerId: "ada", name: "k" });
        for (const change of singleChanges(key, char))
          expect({ ...change, ok: (await keys.verify(change.text)).ok }).toEqual({ ...change, ok: false });
        expect((await keys.verify(key)).ok).toBe(true);
      }),
      { numRuns: runs(30) },
    );
  });
});
