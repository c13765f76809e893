import { createSecretKey, type KeyObject } from "node:crypto";
import type { Secret } from "../core/secret.js";
import { SettingsError } from "../settings/errors.js";
import { deriveKey, GENERATE_SECRET } from "../settings/secrets.js";

/**
 * Returns the keys that sign the cookie. A secret of its own signs directly, as in express-session; `secretKey` has other
 * uses too, so a key is derived from it.
 *
 * @throws SettingsError when there is neither
 */
export function signingKeys(
  own: readonly Secret[] | undefined,
  secretKey: readonly Secret[] = [],
): readonly [KeyObject, ...KeyObject[]] {
  const [first, ...rest] =
    own === undefined ? secretKey.map((secret) => deriveKey(secret, "session")) : own.map(rawKey);
  if (first !== undefined) return [first, ...rest];
  throw new SettingsError([
    {
      code: "missing-setting",
      path: "secret",
      message: "Sessions need a secret to sign their cookies.",
      remedy: `Set secret to a random secret. ${GENERATE_SECRET}`,
    },
  ]);
}

function rawKey(secret: Secret): KeyObject {
  return createSecretKey(Buffer.from(secret.reveal()));
}
