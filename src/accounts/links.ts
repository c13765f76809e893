import type { StoredCredential } from "../stores/contracts.js";
import type { JsonValue } from "../stores/json.js";
import { newId, newToken, tokenHash } from "./secrets.js";
import type { ResolvedAccountsSettings } from "./settings.js";

/** A link to a page of the app. Only its hash is stored. */
export interface NewLink {
  readonly link: string;
  /** The credential to store: its name is the hash of the token. */
  readonly credential: StoredCredential;
}

/** Makes a link with a token of 256 bits. It is built from `baseUrl`, whatever Host the request has. */
export function newLink(
  { baseUrl, pages }: ResolvedAccountsSettings,
  page: "resetPassword" | "verifyEmail",
  of: {
    readonly kind: string;
    readonly ownerId: string;
    readonly data: Readonly<Record<string, JsonValue>>;
    readonly now: number;
    readonly lifeMs: number;
  },
): NewLink {
  const token = newToken();
  const { kind, ownerId, data, now, lifeMs } = of;
  return {
    link: `${baseUrl}${pages[page]}?token=${token}`,
    credential: {
      id: newId(),
      ownerId,
      kind,
      name: tokenHash(token),
      data,
      createdAt: now,
      confirmedAt: null,
      usedAt: null,
      expiresAt: now + lifeMs,
      counter: -1,
      failures: 0,
      version: 0,
    },
  };
}

/** Whether a link that was found can be used. */
export function isLive({ expiresAt }: StoredCredential, now: number): boolean {
  return expiresAt !== null && expiresAt > now;
}
