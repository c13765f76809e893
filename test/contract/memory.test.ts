import { describe, test } from "vitest";
import {
  apiKeyStoreConformance,
  credentialStoreConformance,
  rateLimitStoreConformance,
  sessionStoreConformance,
  singleUseStoreConformance,
  tokenStoreConformance,
} from "portcullis/testing";
import { MemoryApiKeyStore } from "../../src/stores/memory/api-key-store.js";
import { MemoryCredentialStore } from "../../src/stores/memory/credential-store.js";
import { MemorySingleUseStore } from "../../src/stores/memory/single-use-store.js";
import { SlidingWindowStore } from "../../src/stores/memory/sliding-window/store.js";
import { MemorySessionStore } from "../../src/stores/memory/session-store.js";
import { MemoryTokenStore } from "../../src/stores/memory/token-store.js";

describe("API keys in memory", () => {
  for (const { name, run } of apiKeyStoreConformance(() => new MemoryApiKeyStore())) test(name, run);
});

describe("tokens in memory", () => {
  for (const { name, run } of tokenStoreConformance(() => new MemoryTokenStore())) test(name, run);
});

describe("limits in memory", () => {
  for (const { name, run } of rateLimitStoreConformance((clock) => new SlidingWindowStore({ clock }))) test(name, run);
});

describe("sessions in memory", () => {
  for (const { name, run } of sessionStoreConformance((clock) => new MemorySessionStore({ clock }))) test(name, run);
});

describe("credentials in memory", () => {
  for (const { name, run } of credentialStoreConformance(() => new MemoryCredentialStore())) test(name, run);
});

describe("single-use records in memory", () => {
  for (const { name, run } of singleUseStoreConformance(() => new MemorySingleUseStore())) test(name, run);
});
