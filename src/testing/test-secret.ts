import { randomBytes } from "node:crypto";
import { secretWeakness } from "../settings/secrets.js";

/**
 * A random secret for a test, another one on each call, which the settings accept.
 *
 * @example
 * ```ts
 * import express from "express";
 * import { applySecurity } from "portcullis";
 * import { testSecret } from "portcullis/testing";
 *
 * applySecurity(express(), { debug: true, secretKey: testSecret(), session: {} });
 * ```
 */
export function testSecret(): string {
  for (;;) {
    const secret = randomBytes(32).toString("base64url");
    // One in many millions contains a word of a placeholder.
    if (secretWeakness(secret) === undefined) return secret;
  }
}
