import type { Store } from "express-rate-limit";
import { z } from "zod";
import { addIssue } from "../settings/object.js";
import type { RateLimitStore } from "../stores/contracts.js";

/** True for a store of this library, which handles many limits and decides by itself. */
export function isWindowStore(store: object | null): store is RateLimitStore {
  const { consume, peek } = (store ?? {}) as Partial<RateLimitStore>;
  return typeof consume === "function" && typeof peek === "function";
}

function isForeignStore(store: object): store is Store {
  const { increment, decrement, resetKey } = store as Partial<Store>;
  return typeof increment === "function" && typeof decrement === "function" && typeof resetKey === "function";
}

export const storeSchema = z.custom<RateLimitStore | Store>().superRefine((value, context) => {
  if (typeof value === "object" && value !== null && (isWindowStore(value) || isForeignStore(value))) return;
  addIssue(context, {
    code: "wrong-type",
    message: "This is not a rate-limit store.",
    remedy: "Pass an instance of SlidingWindowStore, or of a store made for express-rate-limit 6 or later.",
  });
});
