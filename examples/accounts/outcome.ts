import type { Request } from "express";

/** What came of a form: accounts sends the browser on with it in the address of the page. */
export interface Outcome {
  /** The code of a refusal; `undefined` when nothing was refused. */
  readonly error: string | undefined;
  /** Why a new password was refused. */
  readonly reasons: readonly string[];
  /** What was done. */
  readonly status: string | undefined;
}

export function outcomeOf({ query }: Request): Outcome {
  const { error, reason, status } = query;
  return {
    error: typeof error === "string" ? error : undefined,
    reasons: [reason].flat().filter((one) => typeof one === "string"),
    status: typeof status === "string" ? status : undefined,
  };
}

/** A parameter of the address, as text. */
export function parameter(req: Request, name: string): string {
  const value = req.query[name];
  return typeof value === "string" ? value : "";
}

/** What a page says of a refusal, unless it knows better. The words are ours: nothing of the address is shown. */
const PROBLEMS: Readonly<Record<string, string>> = {
  "rate-limited": "There were too many attempts. Wait a few minutes and try again.",
  "too-many-failures": "There were too many wrong codes. Wait some minutes, or use a recovery code.",
  "log-in-ended": "The log-in took longer than five minutes, or it has ended. Log in again.",
  "missing-credentials": "You are not logged in any more.",
  "factor-needed": "Your account must have a second step, so the last one cannot be removed.",
  "password-too-short": "Without a second step your password would be too short. Change it first.",
  "store-unavailable": "That does not work at the moment, and nothing was changed. Try again.",
  conflict: "Your account was changed at the same time. Look at it and try again.",
};

export function problemOf({ error }: Outcome, own: Readonly<Partial<Record<string, string>>> = {}): string | undefined {
  if (error === undefined) return undefined;
  for (const words of [own, PROBLEMS]) if (Object.hasOwn(words, error)) return words[error];
  return "That did not work. Check what you typed and try again.";
}

/** What a page says of what was done, in its own words. */
export function doneOf({ status = "" }: Outcome, own: Readonly<Partial<Record<string, string>>>): string | undefined {
  return Object.hasOwn(own, status) ? own[status] : undefined;
}

const REASONS: Readonly<Record<string, string>> = {
  "too-short": "It has fewer than 15 characters.",
  "too-long": "It is too long.",
  "context-word": "It is little more than your address or the name of this service.",
  common: "It is one of the passwords that are tried first.",
  breached: "It is known from a leak.",
};

/** What is wrong with a new password, for its field. */
export function passwordProblem({ error, reasons }: Outcome): string | undefined {
  if (error !== "password-refused") return undefined;
  const known = reasons.flatMap((reason) => (Object.hasOwn(REASONS, reason) ? [REASONS[reason]] : []));
  return `Choose another password. ${known.join(" ")}`.trim();
}

/** The words for the top of a page where a new password was refused. */
export const PASSWORD_REFUSED = { "password-refused": "This password cannot be used." };
