/** Why a password is refused, or what could not be found out about it. */
export const PASSWORD_REASONS = [
  /** Fewer characters than the settings ask for. */
  "too-short",
  /** More bytes than `maxLength`. */
  "too-long",
  /** Text that is not Unicode: half a surrogate pair. */
  "unreadable",
  /** A word of the context, or one with a few characters added: the login, the address, the name of the service. */
  "context-word",
  /** One of the passwords that are tried first. */
  "common",
  /** Found in a leak. */
  "breached",
  /** The service that knows leaks did not answer. Refused only with `onError: "refuse"`. */
  "not-checked",
] as const;

/** One of the words in `reasons`. */
export type PasswordReason = (typeof PASSWORD_REASONS)[number];

/** Whether a password may be used. */
export interface PasswordCheck {
  /** Whether the password can be used. */
  readonly ok: boolean;
  /** Why not. With `ok: true` it is empty, or `["not-checked"]`. */
  readonly reasons: readonly PasswordReason[];
}

/** What the rules look at. */
export interface PasswordFacts {
  /** The password in NFKC. */
  readonly text: string;
  readonly minLength: number;
  /** Words of the context, by `contextWords`. */
  readonly words: readonly string[];
  readonly isCommon: boolean;
}

/** Characters beside words of the context that do not make a password of them. */
const FEW = 4;
/** Shorter words are in too many passwords. */
const SHORTEST_WORD = 3;

/**
 * The rules that need nobody else (NIST SP 800-63B-4 3.1.1.2): length in code points and the block list; nothing about
 * kinds of characters. Pure.
 *
 * @returns the reasons to refuse it; none when it may be used
 */
export function decidePassword({ text, minLength, words, isCommon }: PasswordFacts): readonly PasswordReason[] {
  return [
    ...(countCharacters(text) < minLength ? (["too-short"] as const) : []),
    ...(isMostlyWords(folded(text), words) ? (["context-word"] as const) : []),
    ...(isCommon ? (["common"] as const) : []),
  ];
}

/** The number of Unicode code points. */
export function countCharacters(text: string): number {
  return [...text].length;
}

/** Text for comparison: without regard to case and to compatible characters. */
export function folded(text: string): string {
  return text.normalize("NFKC").toLowerCase();
}

/** What the words of the context are taken from. */
export interface PasswordContext {
  readonly login?: string | undefined;
  readonly email?: string | undefined;
  /** The host of the service. */
  readonly host?: string | undefined;
  /** Names of the service, and words of the app. */
  readonly names: readonly string[];
}

/** The words that a password must not be made of, the longest first. Pure. */
export function contextWords({ login, email, host, names }: PasswordContext): readonly string[] {
  const given = [login, email, ...names].filter((text) => text !== undefined).map(folded);
  const words = given.flatMap((text) => {
    const [local = "", domain] = text.split("@");
    return [text, local, ...local.split(/[\s._+-]+/), ...partsOfDomain(domain)];
  });
  return [...new Set([...words, ...partsOfDomain(host)])]
    .filter((word) => countCharacters(word) >= SHORTEST_WORD)
    .sort((a, b) => b.length - a.length);
}

/** A domain and its labels, but the last: `com` says nothing of anybody. */
function partsOfDomain(domain: string | undefined): string[] {
  return domain === undefined ? [] : [domain, ...domain.split(".").slice(0, -1)];
}

/** Whether little is left of a text without these words. */
function isMostlyWords(text: string, words: readonly string[]): boolean {
  let rest = text;
  for (const word of words) rest = rest.replaceAll(word, "");
  return rest !== text && countCharacters(rest) <= FEW;
}
