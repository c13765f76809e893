import type { Request } from "express";
import { mapMaybe, type MaybePromise } from "../maybe-promise.js";
import type { RequestState } from "../request-state.js";
import { type Trust, TrustCheck, type TrustFunction } from "../trust-check.js";
import { isLoopbackHost, type Origin, originText, parseOrigin } from "./origin.js";

/** Asks the app's function whether it trusts an origin, once for each request. */
export class OriginCheck {
  readonly #check: TrustCheck;
  readonly #isSecureOnly: boolean;

  /** @param isSecureOnly whether origins of plain http are refused, except those of this machine */
  constructor(trusts: TrustFunction, isSecureOnly: boolean) {
    this.#check = new TrustCheck(trusts, "cors", "cors.origins");
    this.#isSecureOnly = isSecureOnly;
  }

  /**
   * Whether the app trusts an origin. Never throws or rejects. The function is not asked about an origin that no list
   * could hold, nor about `null` and what is not an origin.
   *
   * @param text the value of an Origin field, which may be any text
   */
  ask(text: string, req: Request, state: RequestState): MaybePromise<Trust> {
    const origin = parseOrigin(text);
    if (origin === undefined || this.#isInsecure(origin, state)) return false;
    const name = originText(origin);
    if (!isReadable(origin, name)) return false;
    const { askedOrigin } = state;
    if (askedOrigin?.by === this && askedOrigin.name === name) return askedOrigin.trust;
    return mapMaybe(this.#check.ask(name, req, state), (trust) => {
      state.askedOrigin = { by: this, name, trust };
      return trust;
    });
  }

  #isInsecure({ scheme, host }: Origin, { runtime }: RequestState): boolean {
    return this.#isSecureOnly && scheme === "http" && !isLoopbackHost(host) && !runtime.debug;
  }
}

/**
 * Whether the function can read an origin by `new URL`, which before Node 24 rejects a label that is not valid punycode.
 * A host with a closing dot is another origin than the one that the app knows.
 */
function isReadable({ host }: Origin, name: string): boolean {
  return (!host.endsWith(".") || host === ".") && URL.canParse(name);
}
