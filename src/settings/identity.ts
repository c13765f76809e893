import { z } from "zod";
import { ID_FORM, idText, isPrincipalId, isRole, isScope, ROLE_FORM, SCOPE_FORM } from "../core/identity.js";

/** A realm in WWW-Authenticate (RFC 9110 section 11.5), which needs no escapes. */
export const realmSchema = z.string().refine((text) => /^[\x20-\x21\x23-\x5b\x5d-\x7e]{1,64}$/.test(text), {
  error: "Must be 1 to 64 printable ASCII characters without quotes",
  params: { remedy: 'Write a short name of the service, such as "api".' },
});

/** The id of a principal: text, or a safe integer, which becomes decimal text. */
export const principalIdSchema = z.preprocess(
  idText,
  z.string().refine(isPrincipalId, `Must be ${ID_FORM}`),
) as unknown as z.ZodType<string, string | number>;

/** One scope (`read`, `orders:write`, `orders:*`). */
export const scopeSchema = z.string().refine(isScope, {
  error: `Must be ${SCOPE_FORM}`,
  params: { remedy: 'Write "orders" or "orders:write"; "orders:*" includes every scope below orders.' },
});

/** One role (`admin`, `billing:viewer`). */
export const roleSchema = z.string().refine(isRole, {
  error: `Must be ${ROLE_FORM}`,
  params: { remedy: 'Write "admin" or "billing:viewer".' },
});
