import { createSecretKey, type KeyObject } from "node:crypto";
import type { z } from "zod";
import type { Secret } from "../../core/secret.js";
import { addIssue } from "../../settings/object.js";
import { familyOf, hashBits, type JwtAlgorithm } from "./algorithms.js";
import { derivedKid } from "./key-ids.js";
import type { ResolvedJwtKeySettings } from "./settings.js";
import { keyProblem, looksLikeAsymmetricKey } from "./validation.js";

type Report = z.core.$RefinementCtx;

/** The settings that say with which keys tokens are signed and verified. */
interface KeySources {
  readonly algorithm: JwtAlgorithm;
  readonly secret?: readonly Secret[] | undefined;
  readonly privateKey?: KeyObject | undefined;
  readonly keys?: readonly ResolvedJwtKeySettings[] | undefined;
}

/** Reports keys that contradict each other or the algorithm, or are too weak for it. */
export function checkKeys(settings: KeySources, context: Report): void {
  checkKeySources(settings, context);
  settings.secret?.forEach((secret, index) =>
    checkSecret(secret, settings.algorithm, settings.secret?.length === 1 ? ["secret"] : ["secret", index], context),
  );
  if (settings.privateKey !== undefined)
    report(context, ["privateKey"], keyProblem(settings.privateKey, settings.algorithm));
  if (settings.keys !== undefined) checkEntries(settings.keys, settings.algorithm, context);
}

function report(context: Report, path: readonly (string | number)[], problem: ReturnType<typeof keyProblem>): void {
  if (problem !== undefined) addIssue(context, { ...problem, path });
}

function checkKeySources(settings: KeySources, context: Report): void {
  const given = (["secret", "privateKey", "keys"] as const).filter((name) => settings[name] !== undefined);
  const [, second] = given;
  if (second !== undefined) {
    addIssue(context, {
      code: "contradiction",
      path: [second],
      message: `The key is set more than once: ${given.join(" and ")}.`,
      remedy: "Keep one of them. To rotate keys, use keys.",
    });
  }
  const symmetric = familyOf(settings.algorithm) === "HS";
  if (!symmetric && settings.secret !== undefined) {
    addIssue(context, {
      code: "contradiction",
      path: ["secret"],
      message: `${settings.algorithm} signs with a private key, but this is a secret.`,
      remedy: "Set privateKey instead, or choose HS256.",
    });
  }
  if (!symmetric && given.length === 0) {
    addIssue(context, {
      code: "missing-setting",
      path: ["privateKey"],
      message: `${settings.algorithm} needs a private key.`,
      remedy: "Set privateKey or keys, or choose HS256.",
    });
  }
}

function checkSecret(
  secret: Secret,
  algorithm: JwtAlgorithm,
  path: readonly (string | number)[],
  context: Report,
): void {
  const text = secret.reveal();
  const bytes = hashBits(algorithm) / 8;
  if (looksLikeAsymmetricKey(text)) {
    addIssue(context, {
      code: "contradiction",
      path,
      message: "The secret is the text of an asymmetric key: anyone with the public key could forge tokens.",
      remedy: "Set the private key as privateKey, and choose an RS, PS or ES algorithm.",
    });
  } else if (familyOf(algorithm) === "HS" && Buffer.byteLength(text) < bytes) {
    addIssue(context, {
      code: "weak-secret",
      path,
      message: `${algorithm} needs a secret of at least ${bytes} bytes (RFC 7518 section 3.2).`,
      remedy: `Generate one with: node -p "require('node:crypto').randomBytes(${bytes}).toString('base64url')"`,
    });
  }
}

function checkEntries(entries: readonly ResolvedJwtKeySettings[], algorithm: JwtAlgorithm, context: Report): void {
  if (entries[0]?.publicKey !== undefined) {
    addIssue(context, {
      code: "contradiction",
      path: ["keys", 0],
      message: "The first key signs tokens, and a public key cannot sign.",
      remedy: "Put an entry with privateKey first.",
    });
  }
  const seen = new Set<string>();
  entries.forEach((entry, index) => {
    checkEntry(entry, index, algorithm, context);
    const kid = entryKid(entry);
    if (kid === undefined) return;
    if (seen.has(kid)) {
      addIssue(context, {
        code: "contradiction",
        path: ["keys", index],
        message: "Two keys have the same kid.",
        remedy: "Give each key its own kid, and list each key once.",
      });
    }
    seen.add(kid);
  });
}

function checkEntry(entry: ResolvedJwtKeySettings, index: number, algorithm: JwtAlgorithm, context: Report): void {
  if (entry.secret === undefined) {
    const name = entry.privateKey === undefined ? "publicKey" : "privateKey";
    const key = entry.privateKey ?? entry.publicKey;
    if (key !== undefined) report(context, ["keys", index, name], keyProblem(key, algorithm));
  } else if (familyOf(algorithm) === "HS") {
    checkSecret(entry.secret, algorithm, ["keys", index, "secret"], context);
  } else {
    addIssue(context, {
      code: "contradiction",
      path: ["keys", index, "secret"],
      message: `${algorithm} signs with a private key, but this is a secret.`,
      remedy: "Set privateKey or publicKey instead, or choose HS256.",
    });
  }
}

/** Returns `undefined` for a key type that no algorithm here supports; that is reported separately. */
function entryKid(entry: ResolvedJwtKeySettings): string | undefined {
  if (entry.kid !== undefined) return entry.kid;
  try {
    const key =
      entry.secret === undefined
        ? (entry.privateKey ?? entry.publicKey)
        : createSecretKey(Buffer.from(entry.secret.reveal()));
    return key === undefined ? undefined : derivedKid(key);
  } catch {
    return undefined;
  }
}
