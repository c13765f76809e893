import { Secret } from "../core/secret.js";
import type { ResolvedAccountsSettings } from "./settings.js";

/** The effective settings, JSON-able: a function as `"function"`, a store as its class, a secret as `[secret]`. */
export function describeAccounts({ stores, ...rest }: ResolvedAccountsSettings): Record<string, unknown> {
  const own = Object.entries(stores).flatMap(([name, store]) =>
    store === undefined ? [] : [[name, store.constructor.name] as const],
  );
  return { ...plainMembers(rest), ...(own.length === 0 ? {} : { stores: Object.fromEntries(own) }) };
}

function plainMembers(settings: object): Record<string, unknown> {
  const members = Object.entries(settings).filter(([, value]) => value !== undefined);
  return Object.fromEntries(members.map(([name, value]: [string, unknown]) => [name, plain(value)]));
}

function plain(value: unknown): unknown {
  if (typeof value === "function") return "function";
  if (value instanceof Secret) return String(value);
  if (Array.isArray(value)) return value.map(plain);
  return typeof value === "object" && value !== null ? plainMembers(value) : value;
}
