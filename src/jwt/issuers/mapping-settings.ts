import { z } from "zod";
import { addIssue, selectSchema } from "../../settings/object.js";

/** The claims of a token that another issuer, or a former app, has signed. Verified and frozen. */
export type ForeignClaims = Readonly<Record<string, unknown>>;

type ClaimsFunction<Returned> = (claims: ForeignClaims) => Returned;

/** A synchronous function of the verified claims. */
function claimsFunctionSchema<Returned>(
  returns: string,
): z.ZodType<ClaimsFunction<Returned>, ClaimsFunction<Returned>> {
  const remedy = `Write a function that returns ${returns}: (claims) => ….`;
  return z
    .custom<ClaimsFunction<Returned>>((value) => typeof value === "function", {
      error: "This must be a function.",
      params: { remedy },
    })
    .refine((value) => Object.prototype.toString.call(value) !== "[object AsyncFunction]", {
      error: "This must be a synchronous function, but it is async.",
      params: { remedy },
    });
}

/** Where a list is found in the claims: the name of a claim, names joined by dots, or a function. */
function listSourceSchema(
  example: string,
): z.ZodType<
  string | ((claims: ForeignClaims) => readonly string[]),
  string | ((claims: ForeignClaims) => readonly string[])
> {
  return selectSchema((value) => {
    if (typeof value === "string") return z.string().min(1).max(255);
    if (typeof value === "function") return claimsFunctionSchema<readonly string[]>("a list of texts");
    return z.unknown().superRefine((_value, context) =>
      addIssue(context, {
        code: "wrong-type",
        message: "This must be the name of a claim, or a function.",
        remedy: `Write ${example}, or (claims) => […].`,
      }),
    );
  });
}

/** What a token says about its caller, for issuers and for a former app. */
export const MAPPING = {
  /**
   * The id of the principal, as a function of the claims: text of at most 255 characters, or a safe integer. The app
   * vouches that a user of this id in its own tokens, sessions and keys is the same person. Default: for an issuer
   * `<issuer>|<sub>`; for a former app `sub`.
   */
  id: claimsFunctionSchema<string | number>("the id of the principal").optional(),
  /**
   * The scopes: the name of a claim (`"permissions"`, `"https://example.com/scopes"`, or names joined by dots), or a
   * function of the claims. A claim may be a list, or text with spaces; what has not the form of a scope, ends in `*`,
   * or is `api-keys:manage` is left out. What a function returns is taken as it is. Default: `scope`, `scp` and
   * `permissions` together.
   */
  scopes: listSourceSchema('"permissions"').optional(),
  /**
   * The roles: the name of a claim (`"roles"`, `"realm_access.roles"`), or a function of the claims. Default: none.
   */
  roles: listSourceSchema('"realm_access.roles"').optional(),
};
