import type { StoredCredential } from "../../stores/contracts.js";
import { passwordStandsAlone } from "../passwords/record.js";

/** What the removal of a factor depends on. */
export interface Removal {
  /** Whether it is the person's last one. */
  readonly isLast: boolean;
  /** Whether `factors.required` asks for one. */
  readonly isRequired: boolean;
  readonly credentials: readonly StoredCredential[];
}

/** Decides whether a person may take a factor away. Pure. */
export function decideRemoval({
  isLast,
  isRequired,
  credentials,
}: Removal): "removed" | "factor-needed" | "password-too-short" {
  if (!isLast) return "removed";
  if (isRequired) return "factor-needed";
  return passwordStandsAlone(credentials) ? "removed" : "password-too-short";
}
