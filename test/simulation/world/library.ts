import { seedRandomBytes } from "./virtual-time.js";

// Before the library is loaded: some of its modules draw random numbers as they are loaded.
seedRandomBytes();

export const { applySecurity, MemorySessionStore, SlidingWindowStore, StoreUnavailableError, TokenError } =
  await import("portcullis");
export const { MemoryApiKeyStore } = await import("../../../src/stores/memory/api-key-store.js");
export const { MemoryTokenStore } = await import("../../../src/stores/memory/token-store.js");
