import { inspect } from "node:util";
import { expect, it } from "vitest";
import { Secret } from "../../src/core/secret.js";

it("a Secret shows its value by reveal() alone", () => {
  const secret = new Secret("hunter2");
  const shown = [
    String(secret),
    `a${String(secret)}`,
    JSON.stringify({ secret }),
    inspect(secret, { showHidden: true, depth: 9 }),
    inspect({ a: [secret] }),
    Object.keys(secret).join(),
  ];
  expect(shown.join(" ")).not.toContain("hunter2");
  expect(secret.reveal()).toBe("hunter2");
});
