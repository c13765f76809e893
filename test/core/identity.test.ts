import type { Request } from "express";
import { InvalidInputError } from "../../src/core/portcullis-error.js";
import { describe, expect, it } from "vitest";
import { ApiKeyError } from "../../src/api-key/errors.js";
import { ApiKeyService } from "../../src/api-key/service.js";
import { idText, isPrincipalId, isRole, isScope, MAX_ID_LENGTH } from "../../src/core/identity.js";
import { requireAuth } from "../../src/guards.js";
import { TokenError } from "../../src/jwt/errors.js";
import { JwtManager } from "../../src/jwt/manager.js";
import { logIn } from "../../src/session/log-in.js";
import { SetupError } from "../../src/core/setup-error.js";
import { SettingsError } from "../../src/settings/errors.js";

interface Identity {
  id: unknown;
  scopes: unknown[];
  roles: unknown[];
}
const ADA: Identity = { id: "ada", scopes: [], roles: [] };

/** Every way by which an identity gets in. Each says whether it takes one, and fails the test when it refuses by another error. */
const entrances: Record<string, (identity: Identity) => Promise<boolean>> = {
  logIn: (who) =>
    // Without a session layer: what is well formed gets as far as the error that names the line to add.
    logIn({} as Request, who as never).then(
      () => expect.unreachable("there is no session to log in to"),
      (error: unknown) => {
        if (!(error instanceof InvalidInputError)) expect(error).toBeInstanceOf(SetupError);
        return error instanceof SetupError;
      },
    ),
  "a token": async ({ id, scopes, roles }) => {
    const manager = new JwtManager({ secret: "kR7#vQ2m-Zx81pLw!tYc0uNe5sGb9dHf" });
    const taken = await manager.signAccessToken(id as string, { scopes, roles } as never).then(
      () => true,
      (error: unknown) => {
        expect(error).toBeInstanceOf(TokenError);
        expect((error as TokenError).code).toBe("invalid-input");
        return false;
      },
    );
    await manager.close();
    return taken;
  },
  "an API key": async ({ id, scopes, roles }) => {
    const service = new ApiKeyService({ hash: "hmac-sha256", secret: "kR7#vQ2m-Zx81pLw!tYc0uNe5sGb9dHf" });
    const taken = await service.create({ ownerId: id, name: "ci", scopes, roles } as never).then(
      () => true,
      (error: unknown) => {
        expect(error).toBeInstanceOf(ApiKeyError);
        expect((error as ApiKeyError).code).toBe("invalid-input");
        return false;
      },
    );
    await service.close();
    return taken;
  },
};

/** Guards ask for scopes and roles; an id they never see. */
function guardTakes(policy: object): boolean {
  try {
    requireAuth(policy);
    return true;
  } catch (error) {
    expect(error).toBeInstanceOf(SettingsError);
    return false;
  }
}

const ids: [name: string, id: unknown, taken: boolean][] = [
  ["a word", "ada", true],
  ["a UUID", "0190163d-8694-739b-aea5-966c26f8ad90", true],
  ["an address of mail", "ada@example.com", true],
  ["another script and blanks", "Ада Лавлейс", true],
  ["an emoji", "👩‍💻", true],
  ["a foreign issuer and subject", "https://id.example|auth0|5f7c", true],
  ["the longest", "x".repeat(MAX_ID_LENGTH), true],
  ["a safe integer", 42, true],
  ["a negative integer", -1, true],
  ["nothing", "", false],
  ["undefined", undefined, false],
  ["one character too many", "x".repeat(MAX_ID_LENGTH + 1), false],
  ["a fraction", 1.5, false],
  ["an unsafe integer", 2 ** 53, false],
  ["a bigint", 1n, false],
  ["an object", { toString: () => "ada" }, false],
  ["a list", ["ada"], false],
  ["a NUL", "a\0b", false],
  ["a line break", "ada\nroot", false],
  ["a DEL", "a\u007f", false],
  ["a C1 control character", "a\u0085b", false],
  ["a line separator", "a\u2028b", false],
  ["a paragraph separator", "a\u2029b", false],
  ["a lone surrogate", "\ud800", false],
];

const scopes: [name: string, scope: unknown, taken: boolean][] = [
  ["a word", "read", true],
  ["words", "orders:items:write", true],
  ["a wildcard at the end", "orders:*", true],
  ["the longest word", "a".repeat(64), true],
  ["the most words", Array.from({ length: 8 }, () => "a").join(":"), true],
  ["nothing", "", false],
  ["a wildcard alone", "*", false],
  ["a wildcard in the middle", "orders:*:write", false],
  ["a blank", "read write", false],
  ["an empty word", "orders::write", false],
  ["a longer word", "a".repeat(65), false],
  ["more words", Array.from({ length: 9 }, () => "a").join(":"), false],
  ["another script", "чтение", false],
  ["a line break", "read\n", false],
  ["a number", 1, false],
];

const roles: [name: string, role: unknown, taken: boolean][] = [
  ["a word", "admin", true],
  ["words", "billing:viewer", true],
  ["all it may hold", "A-z_0.9:x", true],
  ["the longest", "r".repeat(64), true],
  ["nothing", "", false],
  ["one character too many", "r".repeat(65), false],
  ["a blank", "domain admins", false],
  ["a slash", "team/admin", false],
  ["a wildcard", "billing:*", false],
  ["another script", "админ", false],
  ["a line break", "admin\n", false],
  ["a lone surrogate", "a\udc00", false],
  ["a number", 1, false],
];

describe.each(Object.entries(entrances))("%s", (_name, takes) => {
  it.each(ids)("accepts or refuses %s as an id", async (_what, id, taken) => {
    expect(await takes({ ...ADA, id })).toBe(taken);
  });
  it.each(scopes)("accepts or refuses %s as a scope", async (_what, scope, taken) => {
    expect(await takes({ ...ADA, scopes: [scope] })).toBe(taken);
  });
  it.each(roles)("accepts or refuses %s as a role", async (_what, role, taken) => {
    expect(await takes({ ...ADA, roles: [role] })).toBe(taken);
  });
});

describe("a guard", () => {
  it.each(scopes)("accepts or refuses %s as a scope", (_what, scope, taken) => {
    expect(guardTakes({ scopes: [scope] })).toBe(taken);
  });
  it.each(roles)("accepts or refuses %s as a role", (_what, role, taken) => {
    expect(guardTakes({ roles: [role] })).toBe(taken);
  });
});

describe("the grammar itself", () => {
  it.each(ids)("%s as id", (_what, id, taken) => expect(isPrincipalId(idText(id))).toBe(taken));
  it.each(scopes)("%s as scope", (_what, scope, taken) => expect(isScope(scope)).toBe(taken));
  it.each(roles)("%s as role", (_what, role, taken) => expect(isRole(role)).toBe(taken));
});
