import type { AuthenticationMethod } from "portcullis";
import { describe, expect, test } from "vitest";
import { decideGate, hasProvedSecond, type Standing } from "../../../src/accounts/gate/decide.js";

const NOBODY: Standing = { factors: [], hasFactor: false, isRequired: false, enrollable: ["totp"] };
const OWNER: Standing = { ...NOBODY, factors: ["totp", "recovery"], hasFactor: true };
const METHODS = ["pwd", "totp", "webauthn", "recovery", "federated"] as const;
const FACTOR = { verdict: "factor", factors: ["totp", "recovery"] };
const ENROLMENT = { verdict: "enrolment", methods: ["totp"] };
const DONE = { verdict: "done" };

const proved = (...methods: (typeof METHODS)[number][]): AuthenticationMethod[] =>
  methods.map((method) => ({ method, at: 1 }));

describe("decideGate", () => {
  test.each([
    ["nothing is asked of a person without a factor", proved("pwd"), NOBODY, DONE],
    ["a factor that the person has", proved("pwd"), OWNER, FACTOR],
    ["a factor that the person has, and must have", proved("pwd"), { ...OWNER, isRequired: true }, FACTOR],
    ["a factor that the person must have", proved("pwd"), { ...NOBODY, isRequired: true }, ENROLMENT],
    [
      "recovery codes alone are no factor",
      proved("pwd"),
      { ...NOBODY, factors: ["recovery"], isRequired: true },
      ENROLMENT,
    ],
    ["recovery codes alone ask for nothing", proved("pwd"), { ...NOBODY, factors: ["recovery"] }, DONE],
    ["nothing proved", proved(), OWNER, FACTOR],
    ["a log-in elsewhere is no second factor", proved("federated"), OWNER, FACTOR],
    ["the first factor twice", proved("pwd", "pwd"), OWNER, FACTOR],
    ["both", proved("pwd", "totp"), OWNER, DONE],
    ["both, in the other order", proved("totp", "pwd"), { ...OWNER, isRequired: true }, DONE],
    ["a recovery code", proved("pwd", "recovery"), OWNER, DONE],
    ["a passkey", proved("webauthn"), OWNER, DONE],
    ["a factor that was just set up", proved("pwd", "totp"), { ...NOBODY, isRequired: true }, DONE],
  ] as const)("%s", (_what, methods, standing, expected) => {
    expect(decideGate(methods, standing)).toEqual(expected);
  });

  test("asks for exactly what a person owes, whatever was proved", () => {
    const second = METHODS.filter((method) => hasProvedSecond(proved(method)));
    expect(second).toEqual(["totp", "webauthn", "recovery"]);
    expect(hasProvedSecond([])).toBe(false);
    expect(hasProvedSecond(proved("pwd", "recovery"))).toBe(true);
  });
});
