import type { Principal } from "portcullis";
import { describe, expect, test } from "vitest";
import { acceptedSets, isFresh, type MethodSets } from "../../../src/accounts/step-up/decide.js";

const NOW = 10_000_000;
const recent = NOW - 299_999;
const old = NOW - 300_000;

type Proof = Principal["methods"][number];
const of = (methods: readonly Proof[], more: Partial<Principal> = {}): Principal => ({
  id: "1",
  kind: "session",
  scopes: [],
  roles: [],
  credentialId: "x",
  claims: {},
  authenticatedAt: Math.max(0, ...methods.map(({ at }) => at)),
  methods,
  ...more,
});
const at = (time: number, ...methods: Proof["method"][]): Proof[] => methods.map((method) => ({ method, at: time }));

describe("isFresh", () => {
  test.each<[string, Principal, MethodSets | undefined, boolean]>([
    ["a recent password", of(at(recent, "pwd")), undefined, true],
    ["an old password", of(at(old, "pwd")), undefined, false],
    ["a log-in that names no method", of([], { authenticatedAt: recent }), undefined, true],
    ["nothing known", of([]), undefined, false],
    ["a recent password, and an old code", of([...at(recent, "pwd"), ...at(old, "totp")]), undefined, false],
    ["a recent password, and an old passkey", of([...at(recent, "pwd"), ...at(old, "webauthn")]), undefined, false],
    [
      "a recent password, and an old recovery code",
      of([...at(recent, "pwd"), ...at(old, "recovery")]),
      undefined,
      false,
    ],
    ["an old password, and a recent code", of([...at(old, "pwd"), ...at(recent, "totp")]), undefined, true],
    ["a recent passkey", of(at(recent, "webauthn")), undefined, true],
    ["a recent recovery code", of(at(recent, "recovery")), undefined, true],
    ["somebody who acts for them", of(at(recent, "pwd"), { actor: { id: "2" } }), undefined, false],
    ["a new key", of(at(recent, "key"), { kind: "api-key" }), undefined, false],
    ["a token of a recent log-in", of(at(recent, "pwd"), { kind: "jwt" }), undefined, true],
    ["a proof of later than clocks differ", of(at(NOW + 60_001, "pwd")), undefined, false],
    ["a clock that is ahead", of(at(NOW + 60_000, "pwd")), undefined, true],
    ["both of a set", of(at(recent, "pwd", "totp")), [["webauthn"], ["pwd", "totp"]], true],
    ["one of a set is old", of([...at(recent, "pwd"), ...at(old, "totp")]), [["webauthn"], ["pwd", "totp"]], false],
    ["one of a set is missing", of(at(recent, "pwd")), [["webauthn"], ["pwd", "totp"]], false],
    ["another set", of(at(recent, "webauthn")), [["webauthn"], ["pwd", "totp"]], true],
    ["a log-in is recent, but not the method asked for", of([], { authenticatedAt: recent }), [["pwd"]], false],
  ])("%s", (_what, principal, anyOf, expected) => {
    expect(isFresh(principal, { withinSeconds: 300, anyOf }, NOW)).toBe(expected);
  });
});

describe("acceptedSets", () => {
  const offered = ["pwd", "totp", "recovery"] as const;
  const all = ["pwd", "totp", "webauthn", "recovery", "federated"] as const;
  test.each<[string, Principal, MethodSets | undefined, readonly Proof["method"][], MethodSets]>([
    ["any, of what is offered", of(at(old, "pwd")), undefined, offered, [["pwd"], ["totp"], ["recovery"]]],
    [
      "any, where all is offered",
      of(at(old, "pwd")),
      undefined,
      all,
      [["pwd"], ["totp"], ["webauthn"], ["recovery"], ["federated"]],
    ],
    ["a second factor of who has proved one", of(at(old, "pwd", "totp")), undefined, offered, [["totp"], ["recovery"]]],
    ["the same, where all is offered", of(at(old, "recovery")), undefined, all, [["totp"], ["webauthn"], ["recovery"]]],
    ["nothing, where nothing is offered", of(at(old, "pwd")), undefined, [], []],
    [
      "what the guard says, offered or not",
      of(at(old, "pwd")),
      [["webauthn"], ["pwd", "totp"]],
      offered,
      [["webauthn"], ["pwd", "totp"]],
    ],
  ])("%s", (_what, principal, anyOf, methods, expected) => {
    expect(acceptedSets(principal, { withinSeconds: 300, anyOf }, methods)).toEqual(expected);
  });
});
