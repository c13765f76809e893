import { dictionary } from "@zxcvbn-ts/language-common";

const SHORTEST = 8;

/**
 * The passwords that are tried first, of eight characters or more, one a line, normalised and in lower case. The build
 * computes it and puts the text in this module's place.
 */
export const COMMON: string = [
  ...new Set(dictionary["passwords-common"].map((text) => text.normalize("NFKC").toLowerCase())),
]
  .filter((text) => [...text].length >= SHORTEST)
  .join("\n");
