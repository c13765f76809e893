import { describe, expect, test } from "vitest";
import type { StoredCredential } from "portcullis";
import { decideRemoval } from "../../../src/accounts/factors/decide-removal.js";

const credential = (kind: string, data: StoredCredential["data"]): StoredCredential => ({
  id: kind,
  ownerId: "1",
  kind,
  name: kind,
  data,
  createdAt: 0,
  confirmedAt: 0,
  usedAt: null,
  expiresAt: null,
  counter: -1,
  failures: 0,
  version: 0,
});
const LONG = [credential("password", { hash: "x", isLong: true }), credential("totp", {})];
const SHORT = [credential("password", { hash: "x", isLong: false })];
const UNKNOWN = [credential("password", { hash: "x" })];
const NONE = [credential("totp", {})];

describe("decideRemoval", () => {
  test.each([
    ["one of several", false, true, SHORT, "removed"],
    ["the last one, beside a password that stands alone", true, false, LONG, "removed"],
    ["the last one, of a person without a password", true, false, NONE, "removed"],
    ["the last one, beside a short password", true, false, SHORT, "password-too-short"],
    ["the last one, beside a password whose length is unknown", true, false, UNKNOWN, "password-too-short"],
    ["the last one of a person who must have one", true, true, LONG, "factor-needed"],
    ["the last one of a person who must have one, beside a short password", true, true, SHORT, "factor-needed"],
  ] as const)("%s", (_what, isLast, isRequired, credentials, expected) => {
    expect(decideRemoval({ isLast, isRequired, credentials })).toBe(expected);
  });
});
