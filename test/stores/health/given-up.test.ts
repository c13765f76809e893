import { describe, expect, it } from "vitest";
import type { SecurityEvent } from "../../../src/core/events.js";
import { MemoryApiKeyStore } from "../../../src/stores/memory/api-key-store.js";
import { MemorySessionStore } from "../../../src/stores/memory/session-store.js";
import { MemoryTokenStore } from "../../../src/stores/memory/token-store.js";
import { bench as keyBench } from "../../api-key/support.js";
import { bench as tokenBench } from "../../jwt/support.js";
import { bench as sessionBench } from "../../session/support.js";
import { ManualClock } from "../../support/manual-clock.js";

/** How many refused revocations of one kind wait for the store. */
const MOST = 10_000;
const down = () => Promise.reject(new Error("connection lost"));

class KeysDown extends MemoryApiKeyStore {
  override revoke = down;
}

class TokensDown extends MemoryTokenStore {
  override denyAccessToken = down;
}

class SessionsDown extends MemorySessionStore {
  override idsByPrincipal(): string[] {
    throw new Error("connection lost");
  }
}

/** A call that the store refuses, of each layer that repeats refused revocations. */
const LAYERS: readonly (readonly [
  string,
  () => { events: readonly SecurityEvent[]; revoke: (n: number) => Promise<unknown>; close: () => unknown },
])[] = [
  [
    "api-keys-writes",
    () => {
      const { events, service } = keyBench({ store: new KeysDown() });
      const revoke = (n: number) => service.revoke(String(n).padStart(12, "0"));
      return { events, revoke, close: () => service.close() };
    },
  ],
  [
    "revocation",
    () => {
      const { events, manager } = tokenBench({}, new TokensDown());
      return { events, revoke: (n) => manager.revokeToken(`token ${n}`), close: () => manager.close() };
    },
  ],
  [
    "session",
    () => {
      const { events, layer } = sessionBench({ store: new SessionsDown() }, { clock: new ManualClock() });
      return { events, revoke: (n) => layer.end(`user ${n}`), close: () => layer.close?.() };
    },
  ],
];

describe("a refused revocation that makes another give up its place", () => {
  it.each(LAYERS)("is announced once: %s", async (source, make) => {
    const { events, revoke, close } = make();
    const givenUp = () => events.filter(({ reason }) => reason === "repeated-writes");
    for (let n = 0; n < MOST; n += 1) await expect(revoke(n)).rejects.toThrow();
    expect(givenUp()).toEqual([]);
    for (let n = 0; n < 10; n += 1) await expect(revoke(MOST + n)).rejects.toThrow();
    expect(givenUp()).toMatchObject([{ event: "portcullis_overload", source }]);
    await close();
  });
});
