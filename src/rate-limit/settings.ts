import type { Store } from "express-rate-limit";
import type { Request } from "express";
import { z } from "zod";
import { addressRangeSchema, modeSchema, secondsSchema } from "../settings/common.js";
import { addIssue, chosen, settingsObject } from "../settings/object.js";
import type { RateLimitStore } from "../stores/contracts.js";
import { DEFAULT_MAX_CLIENTS, maxClientsSchema } from "../stores/memory/sliding-window/settings.js";

/** Gives the key a request is counted under: text of 1 to 256 characters. */
export type KeyFunction = (req: Request) => string;
/** Gives the units a request costs: a whole number, 0 or more. */
export type CostFunction = (req: Request) => number;

/** Units in a window: a whole number, at least 1. */
const limitSchema = z
  .int()
  .min(1)
  .max(2 ** 31 - 1);

/** A name in a `RateLimit` header and in the store. */
const nameSchema = z.string().superRefine((name, context) => {
  if (/^[A-Za-z0-9._-]{1,64}$/.test(name)) return;
  addIssue(context, {
    code: "wrong-value",
    message: "This is not a name of a limit.",
    remedy: "Use 1 to 64 letters, digits, '.', '_' or '-'.",
  });
});

const functionSchema = z.custom((value) => typeof value === "function");

const keySchema = chosen<"address" | "principal" | KeyFunction, "address" | "principal" | KeyFunction>((value) =>
  typeof value === "function" ? functionSchema : z.enum(["address", "principal"]),
);

const costSchema = chosen<number | CostFunction, number | CostFunction>((value) =>
  typeof value === "function" ? functionSchema : z.int().min(1),
);

/** An address or range that is not limited; one that holds everybody is a mistake. */
const allowedRangeSchema = addressRangeSchema.superRefine((range, context) => {
  if (!range.endsWith("/0")) return;
  addIssue(context, {
    code: "unsafe-setting",
    message: "This range holds every address, so nobody would be limited.",
    remedy: "Name the ranges that are yours, or turn the limiter off with rateLimit: false.",
  });
});

/** True for a store of ours, which knows many limits and decides by itself. */
export function isWindowStore(store: object | null): store is RateLimitStore {
  const { consume, peek } = (store ?? {}) as Partial<RateLimitStore>;
  return typeof consume === "function" && typeof peek === "function";
}

function isForeignStore(store: object): store is Store {
  const { increment, decrement, resetKey } = store as Partial<Store>;
  return typeof increment === "function" && typeof decrement === "function" && typeof resetKey === "function";
}

const storeSchema = z.custom<RateLimitStore | Store>().superRefine((value, context) => {
  if (typeof value === "object" && value !== null && (isWindowStore(value) || isForeignStore(value))) return;
  addIssue(context, {
    code: "wrong-type",
    message: "This is not a store of rate limits.",
    remedy: "Give an instance of SlidingWindowStore, or of a store made for express-rate-limit 6 or later.",
  });
});

const perPrincipalSchema = settingsObject({
  /** Units each principal may use in a window. */
  limit: limitSchema,
  /** Length of the window, in seconds. */
  windowSeconds: secondsSchema.default(60),
});

export const rateLimitSchema = settingsObject({
  /** Units a client may use in a window. */
  limit: limitSchema.default(100),
  /** Length of the window, in seconds. */
  windowSeconds: secondsSchema.default(60),
  /** What a client is: its address; the principal it has proved to be (its address when anonymous); or a text of yours. */
  key: keySchema.default("address"),
  /** Units one request costs. */
  cost: costSchema.default(1),
  /** Addresses and CIDR ranges that are not limited. */
  allow: z.array(allowedRangeSchema).default([]),
  /** IPv6 clients are counted by their subnet: its prefix length in bits. */
  ipv6Subnet: z.int().min(32).max(64).default(56),
  /** Clients that are counted one by one; whoever comes when there are as many shares an overflow window. */
  maxClients: maxClientsSchema.default(DEFAULT_MAX_CLIENTS),
  /** Form of the rate limit headers; `false` sends none but Retry-After on a refusal. */
  headers: z.literal(["draft-8", "draft-6", "legacy", false]).default("draft-8"),
  /** When the store fails: count in this process, let pass, or refuse with 503. */
  onStoreError: z.enum(["local", "allow", "deny"]).default("local"),
  /** How long the store may take, in milliseconds. */
  storeTimeoutMs: z.int().min(1).max(60_000).default(250),
  /** A second limit, for each principal, counted after authentication. */
  perPrincipal: perPrincipalSchema.optional(),
  /** Name of the limit, in headers and in the store. */
  name: nameSchema.default("default"),
  /** Where to count, instead of the store of the whole application. */
  store: storeSchema.optional(),
  mode: modeSchema,
}).superRefine((settings, context) => {
  checkCost(settings, context);
  if (
    typeof settings.cost === "number" &&
    settings.perPrincipal !== undefined &&
    settings.cost > settings.perPrincipal.limit
  ) {
    addIssue(context, {
      code: "contradiction",
      path: ["perPrincipal", "limit"],
      message: "One request costs more than this limit, so no principal would ever be let in.",
      remedy: "Use a limit of at least the cost.",
    });
  }
  if (settings.store !== undefined && !isWindowStore(settings.store) && settings.perPrincipal !== undefined) {
    addIssue(context, {
      code: "contradiction",
      path: ["perPrincipal"],
      message: "A store of express-rate-limit counts for one limit, and here are two.",
      remedy: "Remove perPrincipal, or use a SlidingWindowStore.",
    });
  }
});

/** Settings of a limit for one route. */
export const routeLimitSchema = settingsObject({
  /** Name of the limit, in headers and in the store. Routes with the same name share one count. */
  name: nameSchema,
  /** Units a client may use in a window. */
  limit: limitSchema,
  /** Length of the window, in seconds. */
  windowSeconds: secondsSchema.default(60),
  /** What a client is; a principal is counted by address while it is anonymous. */
  key: keySchema.default("principal"),
  /** Units one request costs. */
  cost: costSchema.default(1),
  /** As for every protection; the mode of the whole limiter when absent. */
  mode: z.enum(["enforce", "report"]).optional(),
}).superRefine(checkCost);

function checkCost(settings: { limit: number; cost: number | CostFunction }, context: z.core.$RefinementCtx): void {
  if (typeof settings.cost !== "number" || settings.cost <= settings.limit) return;
  addIssue(context, {
    code: "contradiction",
    path: ["cost"],
    message: "One request costs more than the limit, so none would ever be accepted.",
    remedy: "Use a cost of at most the limit.",
  });
}

export type RateLimitSettings = z.input<typeof rateLimitSchema>;
export type RateLimitOptions = z.output<typeof rateLimitSchema>;
/** What `security.rateLimit` takes. */
export type RouteLimit = z.input<typeof routeLimitSchema>;
export type RouteLimitOptions = z.output<typeof routeLimitSchema>;
