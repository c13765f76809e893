import type { Request } from "express";
import { AddressList } from "../core/http/address-list.js";
import { pathOf } from "../core/http/authority.js";
import { addressKey, normaliseAddress } from "../core/http/client-address.js";
import type { RequestState } from "../core/request-state.js";
import type { RateLimitCostFunction, RateLimitKeyFunction, RateLimitSkipFunction } from "./limit-settings.js";
import type { Announce } from "./mistakes.js";

/** Longest key that a function of the app may return, in characters. */
const MAX_KEY_LENGTH = 256;

/** Computes the key of a request. How it does so is chosen once, at start. */
export type KeyOf = (req: Request, state: RequestState) => string;

/** IPv6 addresses whose subnet is cached: computing it takes 9 µs, a fifth of what all protections may cost. */
const REMEMBERED_SUBNETS = 4096;

/** The key of an address: IPv4 unchanged, without a new string; IPv6 by subnet. */
export function byAddress(ipv6Subnet: number): KeyOf {
  const subnets = new Map<string, string>();
  return (req, state) => {
    const address = state.address(req);
    // Only IPv6 has colons once the address is normalised, and searching for a colon costs less than parsing.
    if (!address.includes(":")) return address;
    const known = subnets.get(address);
    if (known !== undefined) return known;
    const subnet = addressKey(address, ipv6Subnet);
    // A full cache starts over. It holds no counts, so only time is lost.
    if (subnets.size >= REMEMBERED_SUBNETS) subnets.clear();
    subnets.set(address, subnet);
    return subnet;
  };
}

/** The key of the authenticated principal, or of the address when the caller is anonymous. */
export function byPrincipal(anonymous: KeyOf): KeyOf {
  return (req, state) => (req.principal === undefined ? anonymous(req, state) : principalKey(req.principal));
}

/**
 * One count for a principal, whichever credential proved it. No address has this form, so the two kinds of key never
 * collide.
 */
export function principalKey({ id }: { id: string }): string {
  return `principal:${id}`;
}

/** The key of an address that the app names, as `byAddress` computes it; `undefined` when the text is no address. */
export function namedAddress(text: string, ipv6Subnet: number): string | undefined {
  // A subnet, as the limiter writes it, names itself.
  const address = normaliseAddress(text.replace(/\/\d+$/, ""));
  return address === undefined ? undefined : addressKey(address, ipv6Subnet);
}

/**
 * The key that a function of the app returns. When the function throws or returns no usable text, the request must not
 * become unlimited: it is counted by its address, and the mistake is announced once. The client's address within a key
 * is normalised as it is when it is the key: one spelling, and IPv6 by its subnet.
 */
export function byFunction(keyOf: RateLimitKeyFunction, fallback: KeyOf, announce: Announce): KeyOf {
  return (req, state) => {
    let key: unknown;
    try {
      key = keyOf(req);
    } catch (error) {
      announce("key-function-threw", error);
      return fallback(req, state);
    }
    if (typeof key === "string" && key.length > 0 && key.length <= MAX_KEY_LENGTH)
      return withCountedAddress(key, req, state, fallback, announce);
    neverUnhandled(key);
    announce("key-function-gave-no-key");
    return fallback(req, state);
  };
}

/** An address followed by a port, as some proxies write it. */
const WITH_PORT = /^(?:[\d.]+|\[[^\]]*\]):\d+$/;

/** A key that includes the port would be new with every connection, and no client would be limited. */
function withCountedAddress(
  key: string,
  req: Request,
  state: RequestState,
  counted: KeyOf,
  announce: Announce,
): string {
  // Only an address with a colon can have another spelling or a subnet.
  if (!key.includes(":")) return key;
  const normalised = inOneSpelling(key, req, state, announce);
  const address = state.address(req);
  if (!address.includes(":") || !normalised.includes(address)) return normalised;
  const subnet = counted(req, state);
  // The app may have written the subnet itself, which begins with the address when that is the subnet's first one. But
  // it may also be in text of the client, and the address would then be new with every address of the subnet.
  return normalised.replaceAll(subnet, address).replaceAll(address, subnet);
}

function inOneSpelling(key: string, req: Request, state: RequestState, announce: Announce): string {
  const { ip } = req;
  if (ip === undefined || ip === "" || !key.includes(ip)) return key;
  if (WITH_PORT.test(ip)) announce("key-function-gave-a-port");
  const address = state.address(req);
  return ip === address ? key : key.replaceAll(ip, address);
}

/**
 * The units that a request costs. When the function throws or returns no whole number, the cost is 1 and the mistake is
 * announced once.
 */
export function costOf(cost: number | RateLimitCostFunction, announce: Announce): (req: Request) => number {
  if (typeof cost === "number") return () => cost;
  return (req) => {
    let units: unknown;
    try {
      units = cost(req);
    } catch (error) {
      announce("cost-function-threw", error);
      return 1;
    }
    if (typeof units === "number" && Number.isSafeInteger(units) && units >= 0) return units;
    neverUnhandled(units);
    announce("cost-function-gave-no-cost");
    return 1;
  };
}

/**
 * Whether a request is not limited. When the function throws or returns no boolean, the request is limited and the
 * mistake is announced once. `undefined` when there are no such requests.
 */
export function skipsOf(
  skip: readonly string[] | RateLimitSkipFunction | undefined,
  announce: Announce,
): ((req: Request) => boolean) | undefined {
  if (skip === undefined) return undefined;
  if (typeof skip !== "function") {
    const paths = new Set(skip);
    return paths.size === 0 ? undefined : (req) => paths.has(pathOf(req) ?? "");
  }
  return (req) => {
    let answer: unknown;
    try {
      answer = skip(req);
    } catch (error) {
      announce("skip-function-threw", error);
      return false;
    }
    if (typeof answer === "boolean") return answer;
    neverUnhandled(answer);
    announce("skip-function-gave-no-boolean");
    return false;
  };
}

/** An asynchronous function is a mistake that is announced; its rejection must not end the process as well. */
function neverUnhandled(value: unknown): void {
  if (value instanceof Promise) value.catch(() => undefined);
}

/** Whether a request comes from an exempt address; `undefined` when no address is exempt. */
export function allowList(ranges: readonly string[]): ((req: Request, state: RequestState) => boolean) | undefined {
  if (ranges.length === 0) return undefined;
  const list = new AddressList(ranges);
  return (req, state) => list.has(state.address(req));
}
