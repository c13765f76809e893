import { createHash } from "node:crypto";
import type { Request } from "express";
import type { Announce } from "./mistakes.js";
import type { LoginAccountFunction } from "./login-settings.js";

/** Characters of an account's name that are read; names of accounts are shorter. */
const MAX_LENGTH = 1024;

/**
 * The account that a request is for, as a hash: names of any length take the same room, and no store contains them.
 * Names that differ in case, in white space around them or in compatible characters (NFKC) are counted as one, because
 * many apps look them up so, and an attacker could otherwise guess one account under many names. A name that the app
 * cannot read is counted as an empty one; the mistake is announced once.
 */
export function accountOf(account: LoginAccountFunction, announce: Announce): (req: Request) => string {
  return (req) => {
    let name: unknown;
    try {
      name = account(req);
    } catch (error) {
      announce("account-function-threw", error);
    }
    if (name instanceof Promise) {
      name.catch(() => undefined);
      announce("account-function-gave-no-text");
    }
    return accountHash(typeof name === "string" ? name : "");
  };
}

/** The hash of an account's name. */
export function accountHash(name: string): string {
  // White space goes first: otherwise so much of it in front would leave any part of a name, each with counts of its own.
  const one = name.trim().slice(0, MAX_LENGTH).normalize("NFKC").trim().toLowerCase();
  return createHash("sha256").update(one, "utf16le").digest("base64url");
}
