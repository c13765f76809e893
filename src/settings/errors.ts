import { PortcullisError } from "../core/portcullis-error.js";

/** Every code a `SettingsIssue` can have; `src/settings/README.md` explains each, and a test compares the two. */
export const SETTINGS_CODES = [
  "unknown-setting",
  "wrong-type",
  "wrong-value",
  "missing-setting",
  "weak-secret",
  "unsafe-setting",
  "contradiction",
  "missing-package",
] as const;

/** What kind of mistake a `SettingsIssue` is; src/settings/README.md explains each code. */
export type SettingsCode = (typeof SETTINGS_CODES)[number];

/** One problem in the settings. It never contains a secret or its value. */
export interface SettingsIssue {
  /** What kind of mistake it is. */
  readonly code: SettingsCode;
  /** Where: `cors.origins[1]`, or the environment variable's name. Empty for the settings object itself. */
  readonly path: string;
  /** What is wrong. */
  readonly message: string;
  /** What to write instead. */
  readonly remedy: string;
}

/** The settings are wrong; lists every issue at once. Thrown at start, never while serving. */
export class SettingsError extends PortcullisError {
  readonly code = "PORTCULLIS_SETTINGS";
  /** Every mistake in the settings, in the order of the settings. */
  readonly issues: readonly SettingsIssue[];

  /** @param options `cause`, and `call`: the call whose settings are wrong, which the message begins with */
  constructor(
    issues: readonly SettingsIssue[],
    { cause, call }: { readonly cause?: unknown } & { readonly call?: string } = {},
  ) {
    const lines = issues.map(
      (issue) => `  - ${issue.path || "(settings)"}: ${issue.message} [${issue.code}]\n    ${issue.remedy}`,
    );
    super(
      `${call === undefined ? "" : `${call}: `}${issues.length} ${issues.length === 1 ? "setting is" : "settings are"} wrong:\n${lines.join("\n")}`,
      cause === undefined ? undefined : { cause },
    );
    this.name = "SettingsError";
    this.issues = Object.freeze(issues.map((issue) => Object.freeze({ ...issue })));
    // The message lists them already. Enumerable, they would be printed again below the stack of an uncaught error.
    Object.defineProperty(this, "issues", { enumerable: false });
  }
}
