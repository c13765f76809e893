import { describe, expect, it } from "vitest";
import { JwtManager, SetupError } from "portcullis";
import { MemoryTokenStore } from "../../src/stores/memory/token-store.js";
import { bench, codeOf, HMAC_SECRET, START, UnreliableStore, type Bench } from "./support.js";

const DAY = 86_400_000;
const labels = async ({ manager }: Bench, id = "ada"): Promise<unknown[]> =>
  (await manager.families(id)).map(({ label }) => label);

/** A store that an app has written before families could be listed. */
function olderStore(): MemoryTokenStore {
  return Object.assign(new MemoryTokenStore(), { familiesOf: undefined, findFamily: undefined });
}

describe("families", () => {
  it("are one for each log-in, with what a page of devices shows and nothing that is secret", async () => {
    const made = bench();
    const { manager, clock } = made;
    const phone = await manager.issue("ada", { label: "phone", scopes: ["read"], claims: { plan: "paid" } });
    clock.advance(1000);
    const tablet = await manager.issue("ada");
    await manager.issue("bob", { label: "phone of bob" });
    clock.advance(DAY);
    const renewed = await manager.refresh(phone.refreshToken);
    const { fam } = await manager.verifyAccessToken(renewed.accessToken);
    const families = await manager.families("ada");
    expect(families).toEqual([
      {
        id: expect.stringMatching(/^[\w-]{22}$/),
        createdAt: START + 1000,
        lastUsedAt: START + 1000,
        expiresAt: START + 1000 + 7 * DAY,
        endsAt: START + 1000 + 30 * DAY,
      },
      {
        id: fam,
        label: "phone",
        createdAt: START,
        lastUsedAt: START + 1000 + DAY,
        expiresAt: START + 1000 + 8 * DAY,
        endsAt: START + 30 * DAY,
      },
    ]);
    expect(families.every(Object.isFrozen)).toBe(true);
    const shown = JSON.stringify(families);
    for (const token of [phone, tablet, renewed])
      for (const part of token.refreshToken.slice(3).split(".")) expect(shown).not.toContain(part);
  });

  it("disappear when they have ended in any way, and come back in no way", async () => {
    const made = bench({ absoluteDays: 20 });
    const { manager, clock } = made;
    const tokens = new Map<string, string>();
    for (const label of ["revoked", "ended", "stolen", "idle", "used"])
      tokens.set(label, (await manager.issue("ada", { label })).refreshToken);
    const tokenOf = (label: string) => tokens.get(label) ?? "";
    expect(new Set(await labels(made))).toEqual(new Set(tokens.keys()));
    await manager.revokeFamily(tokenOf("revoked"));
    const ended = (await manager.families("ada")).find(({ label }) => label === "ended");
    expect(await manager.endFamily(ended?.id ?? "")).toBe(true);
    await manager.refresh(tokenOf("stolen"));
    clock.advance(60_000);
    expect(await codeOf(manager.refresh(tokenOf("stolen")))).toBe("reused");
    expect(new Set(await labels(made))).toEqual(new Set(["idle", "used"]));
    let current = tokenOf("used");
    for (let days = 0; days < 18; days += 6) {
      clock.advance(6 * DAY);
      current = (await manager.refresh(current)).refreshToken;
    }
    expect(await labels(made)).toEqual(["used"]);
    clock.advance(2 * DAY);
    expect(await labels(made)).toEqual([]);
    await manager.issue("ada", { label: "new" });
    expect(await labels(made)).toEqual(["new"]);
    await manager.revokeSubject("ada");
    expect(await labels(made)).toEqual([]);
  });

  it("each ends alone: its refresh token and its access tokens, and no others", async () => {
    const { manager, events } = bench();
    const [one, other] = [await manager.issue("ada", { label: "one" }), await manager.issue("ada", { label: "other" })];
    const { fam = "" } = await manager.verifyAccessToken(one.accessToken);
    expect(await manager.endFamily(fam, { subject: "ada" })).toBe(true);
    expect(await codeOf(manager.verifyAccessToken(one.accessToken))).toBe("revoked");
    expect(await codeOf(manager.refresh(one.refreshToken))).toBe("revoked");
    expect(await codeOf(manager.verifyAccessToken(other.accessToken))).toBe("fulfilled");
    expect(await codeOf(manager.refresh(other.refreshToken))).toBe("fulfilled");
    expect(events.filter(({ event }) => event === "authn_token_revoked")).toMatchObject([
      { reason: "family", subject: "ada", credentialId: fam },
    ]);
  });

  it("endFamily with a subject ends no family of another", async () => {
    const { manager } = bench();
    const hers = await manager.issue("ada");
    const numeric = await manager.issue(7);
    const { fam = "" } = await manager.verifyAccessToken(hers.accessToken);
    expect(await manager.endFamily(fam, { subject: "eve" })).toBe(false);
    expect(await codeOf(manager.verifyAccessToken(hers.accessToken))).toBe("fulfilled");
    expect(await manager.endFamily(fam, { subject: "ada" })).toBe(true);
    const { fam: of7 = "" } = await manager.verifyAccessToken(numeric.accessToken);
    expect(await manager.endFamily(of7, { subject: 7 })).toBe(true);
    // A refresh token is no id of a family, and an id is no refresh token.
    const more = await manager.issue("ada");
    const { fam: third = "" } = await manager.verifyAccessToken(more.accessToken);
    expect(await manager.revokeFamily(third)).toBe(false);
    for (const id of ["unknown", "", more.refreshToken, "x".repeat(256), "a\0b", 7, null, undefined, {}])
      expect(await manager.endFamily(id as string)).toBe(false);
    expect(await codeOf(manager.refresh(more.refreshToken))).toBe("fulfilled");
  });

  it("come in pages of 50, of 100 at most", async () => {
    const { manager, clock } = bench();
    for (let n = 0; n < 60; n += 1) {
      await manager.issue("ada", { label: `device ${n}` });
      clock.advance(1000);
    }
    const first = await manager.families("ada");
    const second = await manager.families("ada", { after: first.at(-1)?.id ?? "" });
    expect([first.length, second.length]).toEqual([50, 10]);
    expect([...first, ...second].map(({ label }) => label)).toEqual(
      Array.from({ length: 60 }, (_, n) => `device ${59 - n}`),
    );
    expect((await manager.families("ada", { limit: 100 })).length).toBe(60);
    for (const page of [
      { limit: 0 },
      { limit: 101 },
      { limit: 1.5 },
      { limit: "9" },
      { after: "" },
      { after: 7 },
      { page: 2 },
      null,
      7,
    ])
      expect(await codeOf(manager.families("ada", page as object))).toBe("invalid-input");
    for (const id of ["", "a\0b", "x".repeat(256), null, {}])
      expect(await codeOf(manager.families(id as string))).toBe("invalid-input");
    expect(await manager.families("nobody")).toEqual([]);
  });

  it.each(["", "a\nb", "x".repeat(256), 7, null, "\ud800"])("issue() refuses the label %j", async (label) => {
    const { manager, store } = bench();
    expect(await codeOf(manager.issue("ada", { label: label as string }))).toBe("invalid-input");
    expect(store.size).toBe(0);
    expect(await codeOf(manager.issue("ada", { label: "Ada's phone" }))).toBe("fulfilled");
  });

  it("a store without the methods gets an error that names them, and everything else works", async () => {
    const manager = new JwtManager({ secret: HMAC_SECRET, store: olderStore() });
    const { refreshToken, accessToken } = await manager.issue("ada", { label: "phone" });
    const { fam = "" } = await manager.verifyAccessToken(accessToken);
    for (const call of [manager.families("ada"), manager.endFamily(fam)]) {
      const error: unknown = await call.catch((reason: unknown) => reason);
      expect(error).toBeInstanceOf(SetupError);
      expect(String(error)).toMatch(/familiesOf and findFamily/);
    }
    expect(await codeOf(manager.refresh(refreshToken))).toBe("fulfilled");
  });

  it("a store that fails answers with store-unavailable, and an ending is repeated until it is done", async () => {
    const inner = new MemoryTokenStore();
    const through = Object.assign(new UnreliableStore(inner), {
      familiesOf: (...args: Parameters<MemoryTokenStore["familiesOf"]>) =>
        through.trouble === "fails" ? Promise.reject(new Error("down")) : inner.familiesOf(...args),
      findFamily: (id: string) => inner.findFamily(id),
    });
    const manager = new JwtManager({ secret: HMAC_SECRET, store: through });
    const { refreshToken, accessToken } = await manager.issue("ada");
    const { fam = "" } = await manager.verifyAccessToken(accessToken);
    through.trouble = "fails";
    expect(await codeOf(manager.families("ada"))).toBe("store-unavailable");
    expect(await codeOf(manager.endFamily(fam))).toBe("store-unavailable");
    through.trouble = "none";
    await expect.poll(async () => codeOf(manager.verifyAccessToken(accessToken)), { timeout: 10_000 }).toBe("revoked");
    expect(await codeOf(manager.refresh(refreshToken))).toBe("revoked");
    await manager.close();
  });
});
