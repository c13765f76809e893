import { expect, onTestFinished, test } from "vitest";
import { migrate, SqlTokenStore } from "portcullis/sql";
import { sampleToken } from "../../../src/testing/samples.js";
import { FILLED_ENGINES } from "./filled-engines.js";

test.each(FILLED_ENGINES)(
  "$engine: a log-in that was never refreshed leaves nothing once it has expired",
  async ({ open }) => {
    const { db, slowDb, close } = await open();
    onTestFinished(() => close());
    await migrate(slowDb);
    const store = new SqlTokenStore(db, { slowDb });
    await store.init();
    const token = (id: string, familyId: string, expiresAt: number) =>
      sampleToken({ id, familyId, issuedAt: 1, expiresAt, familyExpiresAt: 9000 });
    // More than one batch of the clean-up.
    for (let n = 1; n <= 600; n += 1) await store.insert(token(`expired-${n}`, `expired-${n}`, 100));
    await store.insert(token("current", "current", 3000));
    await store.insert(token("first", "refreshed", 100));
    await store.rotate("first", 50, token("second", "refreshed", 150), "sealed");

    expect(await store.deleteExpired(200)).toBe(601);
    const kept = await db.selectFrom("portcullis_token_families").select("id").orderBy("id").execute();
    expect(kept.map(({ id }) => String(id))).toEqual(["current", "refreshed"]);
    // It names a family still, so whoever uses it again is known as a thief.
    expect(await store.get("first")).toMatchObject({ familyId: "refreshed", usedAt: 50 });
    expect(await store.findFamily("expired-1")).toBeNull();
    expect(await store.revokeFamily("expired-1", 200)).toBe(false);
  },
);
