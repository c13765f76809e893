import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { TOKEN_ERROR_CODES } from "../../src/jwt/errors.js";

const readme = readFileSync(new URL("../../src/jwt/README.md", import.meta.url), "utf8");

describe("src/jwt/README.md", () => {
  it.each(TOKEN_ERROR_CODES)("names the code %s", (code) => expect(readme).toContain(`\`${code}\``));
});
