import { ID_FORM, idText, isPrincipalId, isRole, isScope, ROLE_FORM, SCOPE_FORM } from "./identity.js";
import { InvalidInputError } from "./portcullis-error.js";

/**
 * The id, scopes and roles that the app passes for a caller whom it has authenticated.
 *
 * @param method the public method, for the error
 * @throws InvalidInputError when one of them is malformed
 */
export function checkedIdentity(method: string, who: unknown): { id: string; scopes: string[]; roles: string[] } {
  if (typeof who !== "object" || who === null)
    throw new InvalidInputError(`${method} needs an object as its second argument: { id, scopes?, roles? }.`);
  const { scopes, roles, id: given } = who as Record<string, unknown>;
  const id = idText(given);
  if (!isPrincipalId(id)) {
    throw new InvalidInputError(
      `${method}: id must be ${ID_FORM}. Convert other types to a string: { id: String(user.id) }.`,
    );
  }
  return {
    id,
    scopes: checkedList(`${method}: scopes`, scopes, isScope, SCOPE_FORM),
    roles: checkedList(`${method}: roles`, roles, isRole, ROLE_FORM),
  };
}

function checkedList(name: string, list: unknown, isValid: (item: unknown) => item is string, form: string): string[] {
  if (list === undefined) return [];
  if (!Array.isArray(list) || !list.every(isValid))
    throw new InvalidInputError(`${name} must be an array, and each entry must be ${form}.`);
  return [...list];
}
