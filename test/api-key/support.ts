import { randomBytes } from "node:crypto";
import { createRuntime, type Runtime } from "../../src/core/runtime.js";
import type { SecurityEvent } from "../../src/core/events.js";
import { ApiKeyService } from "../../src/api-key/service.js";
import type { ApiKeyServiceDependencies } from "../../src/api-key/types.js";
import type { ApiKeySettings } from "../../src/api-key/settings.js";
import { checksum } from "../../src/api-key/keys/format.js";
import type { StoredApiKey, UsageBatch } from "../../src/stores/contracts.js";
import { MemoryApiKeyStore } from "../../src/stores/memory/api-key-store.js";
import { ManualClock } from "../support/manual-clock.js";

export const SECRET = randomBytes(32).toString("base64url");

/** The memory store, counting, and failing or pausing when told to. */
export class WatchedStore extends MemoryApiKeyStore {
  gets = 0;
  writes: (readonly UsageBatch[])[] = [];
  closed = 0;
  failing = false;
  /** Awaited after a `get` has read, before it answers. */
  afterRead: () => Promise<void> = () => Promise.resolve();

  override async get(id: string): Promise<StoredApiKey | undefined> {
    this.gets += 1;
    if (this.failing) throw new Error("down");
    const found = await super.get(id);
    await this.afterRead();
    return found;
  }

  override async addUsage(batch: readonly UsageBatch[]): Promise<void> {
    if (this.failing) throw new Error("down");
    this.writes.push(batch);
    await super.addUsage(batch);
  }

  override async close(): Promise<void> {
    this.closed += 1;
  }
}

export interface Bench {
  service: ApiKeyService;
  clock: ManualClock;
  store: WatchedStore;
  runtime: Runtime;
  events: SecurityEvent[];
}

/** A service on a manual clock and a watched store; hmac-sha256 unless told otherwise, so that tests are quick. */
export function bench(settings: ApiKeySettings = {}, deps: ApiKeyServiceDependencies = {}): Bench {
  const clock = new ManualClock();
  const runtime = createRuntime({ clock });
  const store = new WatchedStore();
  const events: SecurityEvent[] = [];
  runtime.events.on("*", (event) => events.push(event));
  const service = new ApiKeyService({ hash: "hmac-sha256", secret: SECRET, store, ...settings }, { runtime, ...deps });
  return { service, clock, store, runtime, events };
}

/** The same id with another secret, and a checksum that fits: what only an attacker makes. */
export function forged(key: string, variant: number, prefixLength = 4): string {
  const idEnd = prefixLength + 12;
  const secret = String(variant).padStart(key.length - idEnd - 6, "0");
  const body = key.slice(0, idEnd) + secret;
  return body + checksum(body);
}
