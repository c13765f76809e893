import type { Person } from "./types.js";

/**
 * One address, as mail programs take it (RFC 5321, with the letters of RFC 6531): no comma, bracket, quote or white space,
 * so that it cannot become two addresses or another header; and no hyphen at its beginning, so that it cannot become an
 * option of a mail program.
 */
const ADDRESS =
  /^(?!-)[\p{L}\p{M}\p{N}.!#$%&'*+/=?^_`{|}~-]{1,64}@(?=.{1,253}$)[\p{L}\p{M}\p{N}]+(?:[.-]+[\p{L}\p{M}\p{N}]+)*$/u;
const MAX_LENGTH = 254;

/** Whether a text is one mail address. */
export function isMailAddress(text: string): boolean {
  return text.length <= MAX_LENGTH && ADDRESS.test(text);
}

/** Where a person gets mail: their address, or their name when it is one. */
export function mailAddressOf({ email, login }: Pick<Person, "email" | "login">): string | undefined {
  return email ?? (isMailAddress(login) ? login : undefined);
}
