import { type Authority, parseAuthority, parseTarget, sameAuthority } from "../core/http/authority.js";
import type { Refusal } from "../core/response/problem.js";
import type { HostPatterns } from "./host-patterns.js";

/** The settings, compiled. */
export interface HostPolicy {
  /** `undefined` where a function of the app decides about hosts. */
  readonly hosts: HostPatterns | undefined;
  readonly exemptPaths: ReadonlySet<string>;
}

/** What a request says about its destination host. */
export interface HostRequest {
  readonly method: string;
  /** The request target as sent. */
  readonly target: string;
  /** The values of all Host lines as sent. */
  readonly hostLines: readonly string[];
  /** X-Forwarded-Host, when the settings allow it and a trusted proxy sent it. */
  readonly forwarded: string | undefined;
}

export type HostReason =
  "missing" | "duplicate" | "malformed" | "target-mismatch" | "not-listed" | "forwarded-not-listed";

function refusal(reason: HostReason): Refusal {
  return Object.freeze({ code: "untrusted-host", reason });
}

const MISSING = refusal("missing");
const DUPLICATE = refusal("duplicate");
const MALFORMED = refusal("malformed");
const TARGET_MISMATCH = refusal("target-mismatch");
const NOT_LISTED = refusal("not-listed");
const FORWARDED_NOT_LISTED = refusal("forwarded-not-listed");

/** The decision depends on what the app's function says about these hosts. */
export interface OpenDecision {
  /** Without ports and in canonical form, each once. The request is for this service when all of them are trusted. */
  readonly hosts: readonly string[];
  /** Why the request is refused otherwise. */
  readonly otherwise: Refusal;
}

/**
 * Why a request is not for a host of this service, or `undefined` when it is. The decision stays open where a function
 * of the app makes it.
 */
export function decideHost(policy: HostPolicy, request: HostRequest): Refusal | OpenDecision | undefined {
  if (isExempt(policy, request)) return undefined;
  const { hostLines, forwarded } = request;
  // RFC 9112 section 3.2: 400 for a request without Host and for one with more than one. HTTP/1.0 does not require
  // Host, but a request that names no host is not for this service.
  const [text] = hostLines;
  if (text === undefined) return MISSING;
  if (hostLines.length > 1) return DUPLICATE;

  const inOriginForm = request.target.startsWith("/");
  if (inOriginForm && forwarded === undefined && policy.hosts?.hasVerbatim(text) === true) return undefined;

  const host = parseAuthority(text);
  if (host === undefined) return MALFORMED;
  if (!inOriginForm) {
    const target = parseTarget(request.target);
    if (target === undefined) return MALFORMED;
    if (target.absolute !== undefined) {
      // RFC 9112 section 3.2.2: in the absolute-form the target's authority is decisive, and a client sends the same as
      // Host.
      const named = parseAuthority(target.absolute.authority);
      if (named === undefined || !sameAuthority(named, host, target.absolute.scheme)) return TARGET_MISMATCH;
    }
  }
  if (policy.hosts === undefined) return openDecision(host, forwarded);
  if (forwarded !== undefined)
    return areForwardedHostsListed(policy.hosts, forwarded) ? undefined : FORWARDED_NOT_LISTED;
  return policy.hosts.has(host) ? undefined : NOT_LISTED;
}

function isExempt({ exemptPaths }: HostPolicy, { method, target }: HostRequest): boolean {
  if (exemptPaths.size === 0 || (method !== "GET" && method !== "HEAD")) return false;
  // Only in the origin-form: Express reads the path of an absolute-form with an odd authority (`http://a;b/health`)
  // differently from this library, and clients that call by address do not need the absolute-form.
  const path = target.startsWith("/") ? parseTarget(target)?.path : undefined;
  return path !== undefined && exemptPaths.has(path);
}

/** Longest X-Forwarded-Host that is read, in characters: several proxies may each have added a name. */
const MAX_FORWARDED_LENGTH = 1024;

/** Checks every value, since software that reads the field later may take the first (as Express does) or the last. */
function areForwardedHostsListed(hosts: HostPatterns, forwarded: string): boolean {
  if (hosts.hasVerbatim(forwarded)) return true;
  return readForwardedHosts(forwarded)?.every((host) => hosts.has(host)) === true;
}

/** The hosts in X-Forwarded-Host; `undefined` when one is malformed, or there is too much of it. */
function readForwardedHosts(forwarded: string): Authority[] | undefined {
  if (forwarded.length > MAX_FORWARDED_LENGTH) return undefined;
  const hosts: Authority[] = [];
  for (const value of forwarded.split(",")) {
    const host = parseAuthority(value.trim());
    if (host === undefined) return undefined;
    hosts.push(host);
  }
  return hosts;
}

/** Most different hosts that the function is asked about for one request. */
const MAX_HOSTS = 8;

function openDecision(host: Authority, forwarded: string | undefined): Refusal | OpenDecision {
  const otherwise = forwarded === undefined ? NOT_LISTED : FORWARDED_NOT_LISTED;
  const read = forwarded === undefined ? [host] : readForwardedHosts(forwarded);
  if (read === undefined) return otherwise;
  const hosts = [...new Set(read.map((one) => one.host))];
  return hosts.length <= MAX_HOSTS && hosts.every(isReadable) ? { hosts, otherwise } : otherwise;
}

/** Whether the function can read a host by `new URL`, which before Node 24 rejects a label that is not valid punycode. */
function isReadable(host: string): boolean {
  return URL.canParse(`http://${host}`);
}
