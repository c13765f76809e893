import { randomBytes } from "node:crypto";
import type { Response } from "express";
import type { HeaderBlock } from "../core/header-block.js";
import { hasOwnMethods, headOf } from "../core/head-on-response.js";
import { guardResponsesOf, type FinalResponse } from "./final-response.js";
import type { HeaderPlan } from "./plan.js";

const STATE = Symbol("portcullis.headers");
const POLICY = "Content-Security-Policy";

/** `res.locals` under a symbol: a new property of the response itself costs microseconds (Express has changed its prototype), here it costs nothing. */
interface Carrier {
  [STATE]?: ResponseHeaders;
}

/** What is known of one response's headers: which plan wrote them, and the nonce once it was read. */
export class ResponseHeaders implements FinalResponse {
  readonly res: Response;
  plan: HeaderPlan;
  #secure: boolean;
  #block: HeaderBlock;
  #nonce: string | undefined;

  /** @param nonce one that may have been read already */
  constructor(res: Response, plan: HeaderPlan, secure: boolean, nonce?: string) {
    this.#nonce = nonce;
    this.res = res;
    this.plan = plan;
    this.#secure = secure;
    this.#block = blockOf(plan, secure);
  }

  get enforced(): boolean {
    return this.plan.values.has(POLICY);
  }

  restore(): void {
    const { lines } = blockOf(this.plan, this.#secure);
    for (let i = 0; i < lines.length; i += 2) {
      const name = lines[i] as string;
      if (name !== POLICY && !this.res.hasHeader(name)) this.res.setHeader(name, lines[i + 1] as string);
    }
  }

  /** The nonce, made on first read; only then is it put into the policies that name it. */
  nonce(): string {
    if (this.#nonce === undefined) {
      this.#nonce = newNonce();
      this.#writeNonce(this.#nonce);
    }
    return this.#nonce;
  }

  /** Goes over to another plan: writes what differs, so that a header the app has set in between stays unless the plans disagree about it. */
  change(plan: HeaderPlan, secure: boolean): void {
    const before = this.plan;
    this.plan = plan;
    this.#secure = secure;
    if (this.#nonce !== undefined && plan.nonced.length > 0) this.#holdNonce(this.#nonce);
    if (before === plan || this.res.headersSent) return;
    const block = this.#nonce === undefined ? blockOf(plan, secure) : withNonce(plan, secure, this.#nonce);
    if (this.#exchange(block)) return;
    for (const name of before.values.keys()) if (!plan.values.has(name)) this.res.removeHeader(name);
    const { lines } = blockOf(plan, secure);
    for (let i = 0; i < lines.length; i += 2) {
      const name = lines[i] as string;
      if (before.values.get(name) !== lines[i + 1]) this.res.setHeader(name, lines[i + 1] as string);
    }
    if (this.#nonce !== undefined) this.#writeNonce(this.#nonce);
  }

  #writeNonce(nonce: string): void {
    if (this.res.headersSent || this.plan.nonced.length === 0 || this.#exchange(withNonce(this.plan, this.#secure, nonce))) return;
    for (const header of this.plan.nonced) {
      // A policy that the app, or Express's own error page, has put in its place is left alone.
      if (this.res.getHeader(header.name) === header.unread) this.res.setHeader(header.name, header.parts.join(`'nonce-${nonce}'`));
    }
  }
  /** The plain value of a response whose policies named no nonce before may have been changed, or lost with `res.locals`. */
  #holdNonce(nonce: string): void {
    const locals = this.res.locals as { cspNonce?: unknown };
    if (locals.cspNonce !== nonce) Reflect.defineProperty(locals, "cspNonce", { configurable: true, enumerable: true, value: nonce });
  }

  /** Where nobody has touched the headers since they were made ready, others take their place as one. */
  #exchange(block: HeaderBlock): boolean {
    if (hasOwnMethods(this.res) || headOf(this.res)?.exchange(this.#block, block) !== true) return false;
    this.#block = block;
    return true;
  }
}

function blockOf(plan: HeaderPlan, secure: boolean): HeaderBlock {
  return secure ? plan.secure : plan.plain;
}

function withNonce(plan: HeaderPlan, secure: boolean, nonce: string): HeaderBlock {
  return blockOf(plan, secure).with(new Map(plan.nonced.map(({ name, parts }) => [name, parts.join(`'nonce-${nonce}'`)])));
}

/** 144 random bits: more than the 128 that CSP Level 3 section 7.1 asks for, and base64 without padding. */
const NONCE_BYTES = 18;
const NONCE_CHARACTERS = 24;
/** Made so many at a time, as asking for randomness costs more than what comes of it. */
const NONCES_AT_ONCE = 128;

let nonces = "";
let given = 0;

function newNonce(): string {
  if (given === nonces.length) {
    nonces = randomBytes(NONCE_BYTES * NONCES_AT_ONCE).toString("base64");
    given = 0;
  }
  given += NONCE_CHARACTERS;
  return nonces.slice(given - NONCE_CHARACTERS, given);
}

/**
 * `res.locals.cspNonce`. An own, enumerable property, because `res.render` of Express 5 copies own properties only; one
 * descriptor for all responses, because a getter made for each would cost more than the headers.
 */
const NONCE_PROPERTY: PropertyDescriptor = {
  configurable: true,
  enumerable: true,
  get(this: Carrier): string {
    // A copy that lost the symbol still gets a nonce: one that allows nothing.
    return this[STATE]?.nonce() ?? newNonce();
  },
};

/** The state of a response on which a plan was written. */
export function headersOf(res: Response): ResponseHeaders | undefined {
  const state = (headOf(res)?.memo as ResponseHeaders | undefined) ?? (res.locals as Carrier | undefined)?.[STATE];
  return state?.res === res ? state : undefined;
}

/** Writes a plan on a response in one pass, or goes over to it when another was written before. */
export function writeHeaders(res: Response, plan: HeaderPlan, secure: boolean): void {
  if (res.headersSent) return;
  const state = headersOf(res);
  if (state !== undefined) {
    state.change(plan, secure);
    return;
  }
  const { lines } = blockOf(plan, secure);
  for (let i = 0; i < lines.length; i += 2) res.setHeader(lines[i] as string, lines[i + 1] as string);
  res.removeHeader("X-Powered-By");
  trackHeaders(res, plan, secure);
}

/** For a response that has the headers of a plan already: what is needed to change them, and the nonce. */
export function trackHeaders(res: Response, plan: HeaderPlan, secure: boolean): void {
  guardResponsesOf(res, headersOf);
  const locals = ((res.locals as object | undefined) ?? (res.locals = Object.create(null) as Response["locals"])) as Carrier & { cspNonce?: string };
  const head = headOf(res);
  // No policy names a nonce, so it makes no difference whether it is read: a plain value, at a tenth of what the accessor costs.
  if (head !== undefined && plan.nonced.length === 0 && Object.isExtensible(locals) && !("cspNonce" in locals)) {
    locals.cspNonce = newNonce();
    head.memo = new ResponseHeaders(res, plan, secure, locals.cspNonce);
    return;
  }
  // Reflect: a frozen `res.locals` is left as it is instead of throwing. The accessor first: the other way round costs more.
  Reflect.defineProperty(locals, "cspNonce", NONCE_PROPERTY);
  Reflect.set(locals, STATE, new ResponseHeaders(res, plan, secure));
}
