import { inspect } from "node:util";
import { describe, expect, it } from "vitest";
import { SETTINGS_CODES, SettingsError, type SettingsIssue } from "../../src/settings/errors.js";
import { SetupError } from "../../src/core/setup-error.js";

const issue: SettingsIssue = { code: "wrong-value", path: "cors.origins[0]", message: "No.", remedy: "Yes." };

describe("SettingsError", () => {
  it("describes one issue in the singular, and the settings as a whole by that name", () => {
    expect(new SettingsError([{ ...issue, path: "" }]).message).toBe(
      "1 setting is wrong:\n  - (settings): No. [wrong-value]\n    Yes.",
    );
    expect(new SettingsError([issue, issue]).message).toBe(
      "2 settings are wrong:\n  - cors.origins[0]: No. [wrong-value]\n    Yes.\n  - cors.origins[0]: No. [wrong-value]\n    Yes.",
    );
  });

  it("has a name and a code, and a frozen copy of its issues", () => {
    const given = { ...issue };
    const error = new SettingsError([given]);
    expect([error.name, error.code]).toEqual(["SettingsError", "PORTCULLIS_SETTINGS"]);
    expect(error.issues).toEqual([issue]);
    expect(error.issues[0]).not.toBe(given);
    expect([Object.isFrozen(error.issues), Object.isFrozen(error.issues[0]), Object.isFrozen(given)]).toEqual([
      true,
      true,
      false,
    ]);
  });

  it("is printed with each issue once, in its message, and not again below the stack", () => {
    const printed = inspect(new SettingsError([issue]));
    expect(printed.split("cors.origins[0]")).toHaveLength(2);
    expect(printed).toContain("  - cors.origins[0]: No. [wrong-value]\n    Yes.\n    at ");
    expect(JSON.stringify(new SettingsError([issue]).issues)).toBe(JSON.stringify([issue]));
  });

  it("has a cause when there is one, and no such property otherwise", () => {
    const cause = new Error("why");
    expect(new SettingsError([issue], { cause }).cause).toBe(cause);
    expect("cause" in new SettingsError([issue])).toBe(false);
    expect("cause" in new SettingsError([issue], { cause: undefined })).toBe(false);
  });

  it("has these codes, each once", () => {
    expect([...SETTINGS_CODES].sort()).toEqual([
      "contradiction",
      "missing-package",
      "missing-setting",
      "unknown-setting",
      "unsafe-setting",
      "weak-secret",
      "wrong-type",
      "wrong-value",
    ]);
  });
});

describe("SetupError", () => {
  it("has a name and a code", () => {
    const cause = new Error("why");
    const error = new SetupError("Too late.", { cause });
    expect([error.name, error.code, error.message, error.cause]).toEqual([
      "SetupError",
      "PORTCULLIS_SETUP",
      "Too late.",
      cause,
    ]);
  });
});
