import { describe, expect, it } from "vitest";
import { accountHash } from "../../src/rate-limit/login-account.js";

describe("the name of an account", () => {
  it.each([0, 1, 1018, 1019, 1023, 1024, 5000])("is the same with %i characters of white space around it", (count) => {
    for (const space of [" ", "\t", "\u00a0", "\u3000"]) {
      expect(accountHash(`${space.repeat(count)}victim`)).toBe(accountHash("victim"));
      expect(accountHash(`victim${space.repeat(count)}`)).toBe(accountHash("victim"));
    }
  });

  it("differs for different names", () => {
    const names = ["", "v", "victi", "victim", "victims", "v ictim"];
    expect(new Set(names.map(accountHash)).size).toBe(names.length);
  });
});
