import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  AUTHENTICATION_METHODS,
  type AuthenticationMethod,
  latestOf,
  provedMethods,
  storedMethods,
} from "../../src/core/authentication.js";
import { createPrincipal } from "../../src/core/principal.js";

const NOW = Date.UTC(2026, 0, 1);

/** Values of every type, and values that nearly fit. */
const anything = fc.oneof(
  fc.anything({ withNullPrototype: true, withDate: true }),
  fc.array(fc.oneof(fc.constantFrom(...AUTHENTICATION_METHODS, "sms", "__proto__"), fc.anything())),
  fc.array(
    fc.record(
      {
        method: fc.oneof(fc.constantFrom(...AUTHENTICATION_METHODS, "sms"), fc.anything()),
        at: fc.oneof(fc.integer(), fc.double(), fc.anything()),
      },
      { requiredKeys: [] },
    ),
  ),
);

const method = fc.record({
  method: fc.constantFrom(...AUTHENTICATION_METHODS),
  at: fc.integer({ min: 0, max: NOW }),
});

/** Whether each method occurs once, with a time up to `NOW`, and all of it is frozen. */
function isSound(methods: readonly AuthenticationMethod[]): boolean {
  return (
    Object.isFrozen(methods) &&
    methods.every(Object.isFrozen) &&
    new Set(methods.map((one) => one.method)).size === methods.length
  );
}

describe("what a user has proved", () => {
  it.each([
    { name: "nothing", value: [], proved: [] },
    { name: "a name, just now", value: ["pwd"], proved: [{ method: "pwd", at: NOW }] },
    { name: "a method without a time", value: [{ method: "pwd" }], proved: [{ method: "pwd", at: NOW }] },
    { name: "a method with its time", value: [{ method: "totp", at: 5 }], proved: [{ method: "totp", at: 5 }] },
    { name: "a time to come", value: [{ method: "pwd", at: NOW + 9e9 }], proved: [{ method: "pwd", at: NOW }] },
    {
      name: "a method twice",
      value: [{ method: "pwd", at: 5 }, "totp", { method: "pwd", at: 7 }, { method: "pwd", at: 6 }],
      proved: [
        { method: "pwd", at: 7 },
        { method: "totp", at: NOW },
      ],
    },
    { name: "text", value: "pwd", proved: undefined },
    { name: "an unknown name", value: ["pwd", "sms"], proved: undefined },
    { name: "a name of every object", value: ["constructor"], proved: undefined },
    { name: "null in the list", value: [null], proved: undefined },
    { name: "a fraction as time", value: [{ method: "pwd", at: 0.5 }], proved: undefined },
    { name: "a negative time", value: [{ method: "pwd", at: -1 }], proved: undefined },
    { name: "a date as time", value: [{ method: "pwd", at: new Date(NOW) }], proved: undefined },
  ])("$name", ({ value, proved }) => {
    expect(provedMethods(value, NOW)).toEqual(proved);
  });

  it("is read without an error, each method once and never later than now, whatever the app passes", () => {
    fc.assert(
      fc.property(anything, (value) => {
        const proved = provedMethods(value, NOW);
        expect(proved === undefined || (isSound(proved) && proved.every(({ at }) => at >= 0 && at <= NOW))).toBe(true);
      }),
    );
  });

  it("is read from a record without an error, whatever the record contains", () => {
    fc.assert(
      fc.property(anything, (value) => {
        const stored = storedMethods(value);
        expect(stored === undefined || isSound(stored)).toBe(true);
      }),
    );
  });

  it("comes back from a record as it was written, without the methods of a later version", () => {
    fc.assert(
      fc.property(fc.uniqueArray(method, { selector: (one) => one.method }), (methods) => {
        const record: unknown = JSON.parse(JSON.stringify([...methods, { method: "sms", at: 1 }]));
        expect(storedMethods(record)).toEqual(methods);
        expect(latestOf(methods, -1)).toBe(methods.reduce((latest, { at }) => Math.max(latest, at), -1));
      }),
    );
  });

  it.each([[null], ["pwd"], [{ method: 7, at: 1 }], [{ method: "pwd", at: "1" }], [{ method: "pwd" }], {}, "pwd", 7])(
    "a damaged record is recognised: %j",
    (value) => {
      expect(storedMethods(value)).toBeUndefined();
    },
  );
});

describe("createPrincipal", () => {
  const base = { id: "ada", kind: "jwt", scopes: [], roles: [], credentialId: "c" } as const;

  it("shares claims and methods that are frozen, and copies the others", () => {
    const claims = Object.freeze({ tenant: "red" });
    const methods = Object.freeze([]);
    const shared = createPrincipal({ ...base, claims, methods, authenticatedAt: 5 });
    expect(shared.claims).toBe(claims);
    expect(shared.methods).toBe(methods);
    const nested = { tenant: { name: "red" } };
    const copied = createPrincipal({ ...base, claims: nested, methods: [{ method: "pwd", at: 5 }] });
    nested.tenant.name = "blue";
    expect(copied.claims).toEqual({ tenant: { name: "red" } });
    expect(Object.isFrozen(copied.claims["tenant"])).toBe(true);
    expect(Object.isFrozen(copied.methods[0])).toBe(true);
  });

  it("is never fresh when nobody says when the caller was authenticated", () => {
    expect(createPrincipal(base)).toEqual({ ...base, claims: {}, authenticatedAt: 0, methods: [] });
  });
});
