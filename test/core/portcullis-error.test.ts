import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import * as portcullis from "portcullis";
import { InvalidInputError, PortcullisError, SettingsError, SetupError, TokenError } from "portcullis";
import { ROOT } from "../support/code-blocks.js";

const SOURCES = readdirSync(join(ROOT, "src"), { recursive: true, encoding: "utf8" })
  .filter((path) => path.endsWith(".ts"))
  .map((path) => ({ path, text: readFileSync(join(ROOT, "src", path), "utf8") }));

describe("PortcullisError", () => {
  it("is the base of every error class of the library", () => {
    const classes = SOURCES.flatMap(({ path, text }) =>
      [...text.matchAll(/class (\w+) extends (\w*Error)\b/g)].map(([, name, base]) => ({ path, name, base })),
    );
    expect(classes.length).toBeGreaterThan(12);
    expect(classes.filter(({ name, base }) => name !== "PortcullisError" && base !== "PortcullisError")).toEqual([]);
  });

  it("has every exported error below it, each with its own code and name", () => {
    const errors = Object.entries(portcullis).filter(([name]) => name.endsWith("Error") && name !== "PortcullisError");
    expect(errors.length).toBeGreaterThan(8);
    for (const [name, type] of errors)
      expect((type as { prototype: unknown }).prototype, name).toBeInstanceOf(PortcullisError);
    const error = new SetupError("x");
    expect([error.code, error.name, error instanceof PortcullisError, error instanceof Error]).toEqual([
      "PORTCULLIS_SETUP",
      "SetupError",
      true,
      true,
    ]);
  });

  it("recognises no other error, and tells its classes apart", () => {
    for (const other of [
      new Error("x"),
      new TypeError("x"),
      Object.assign(new Error("x"), { code: "PORTCULLIS_SETUP" }),
    ])
      expect(other instanceof PortcullisError).toBe(false);
    for (const other of [null, undefined, "PORTCULLIS_SETUP", 1])
      expect((other as unknown) instanceof PortcullisError).toBe(false);
    const token: unknown = new TokenError("expired");
    expect([token instanceof TokenError, token instanceof SettingsError, token instanceof InvalidInputError]).toEqual([
      true,
      false,
      false,
    ]);
  });

  it("recognises an error that another copy of the library has thrown", async () => {
    // A query makes Node load the same file a second time.
    const copy = (await import(/* @vite-ignore */ `${join(ROOT, "src/core/portcullis-error.ts")}?copy`)) as {
      InvalidInputError: typeof InvalidInputError;
    };
    const error: unknown = new copy.InvalidInputError("x");
    expect(copy.InvalidInputError).not.toBe(InvalidInputError);
    expect([error instanceof PortcullisError, error instanceof InvalidInputError]).toEqual([true, false]);
  });
});
