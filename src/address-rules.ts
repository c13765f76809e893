import type { RequestHandler } from "express";
import { z } from "zod";
import { AddressList, coversInternet } from "./core/http/address-list.js";
import type { Middleware } from "./core/middleware.js";
import { beginState } from "./core/request-state.js";
import type { Refusal } from "./core/response/problem.js";
import { refuse } from "./core/response/refuse.js";
import type { Runtime } from "./core/runtime.js";
import { untrustedProxyWatch } from "./rate-limit/untrusted-proxy.js";
import { addressRangeSchema } from "./settings/common.js";
import { SettingsError } from "./settings/errors.js";
import { parseFactory } from "./settings/object.js";
import { UNKNOWN_PROXY } from "./settings/unknown-proxy.js";

const rangesSchema = z.array(addressRangeSchema).min(1, "The list is empty.");

const NOT_ALLOWED: Refusal = Object.freeze({ code: "address-refused", reason: "not-allowed" });
const DENIED: Refusal = Object.freeze({ code: "address-refused", reason: "denied" });

/** The rules of routes about addresses. */
export interface AddressRules {
  /** See `SecurityBase.allowFrom`. */
  allowFrom(ranges: readonly string[]): Middleware;
  /** See `SecurityBase.denyFrom`. */
  denyFrom(ranges: readonly string[]): Middleware;
}

/** @param isProxyKnown whether the settings say if there is a proxy in front */
export function createAddressRules(runtime: Runtime, isProxyKnown: boolean): AddressRules {
  function rule(
    method: "allowFrom" | "denyFrom",
    given: readonly string[],
    decide: (isListed: boolean) => Refusal | undefined,
  ): Middleware {
    const ranges = parseFactory(`security.${method}`, rangesSchema, given);
    if (!isProxyKnown) throw new SettingsError([{ code: "contradiction", path: "trustProxy", ...UNKNOWN_PROXY }]);
    if (method === "allowFrom" && coversInternet(ranges)) throw new SettingsError([ALLOWS_ALL]);
    const list = new AddressList(ranges);
    const watch = untrustedProxyWatch(method);
    const handler: RequestHandler = function addressRule(req, res, next) {
      const state = beginState(req, runtime);
      watch(req, state);
      const refusal = decide(list.has(state.address(req)));
      if (refusal === undefined) next();
      else refuse(req, res, method, refusal);
    };
    return handler as Middleware;
  }

  return {
    allowFrom: (ranges) => rule("allowFrom", ranges, (isListed) => (isListed ? undefined : NOT_ALLOWED)),
    denyFrom: (ranges) => rule("denyFrom", ranges, (isListed) => (isListed ? DENIED : undefined)),
  };
}

const ALLOWS_ALL = {
  code: "unsafe-setting",
  path: "",
  message: "These ranges contain a large part of all addresses, so nearly every client would be allowed.",
  remedy: "List only your own ranges, or remove allowFrom from this route.",
} as const;
