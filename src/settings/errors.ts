/** Every code a `SettingsIssue` can have; `src/settings/README.md` explains each, and a test holds the two together. */
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

export type SettingsCode = (typeof SETTINGS_CODES)[number];

/** One thing wrong with the settings. Never holds a secret or its value. */
export interface SettingsIssue {
  readonly code: SettingsCode;
  /** Where: `cors.origins[1]`, or the environment variable's name. Empty for the settings object itself. */
  readonly path: string;
  /** What is wrong. */
  readonly message: string;
  /** What to write instead. */
  readonly remedy: string;
}

/** The settings are wrong; lists every issue at once. Thrown at start, never while serving. */
export class SettingsError extends Error {
  readonly code = "PORTCULLIS_SETTINGS";
  readonly issues: readonly SettingsIssue[];

  constructor(issues: readonly SettingsIssue[], { cause }: ErrorOptions = {}) {
    const lines = issues.map(
      (issue) => `  - ${issue.path || "(settings)"}: ${issue.message} [${issue.code}]\n    ${issue.remedy}`,
    );
    super(
      `${issues.length} ${issues.length === 1 ? "setting is" : "settings are"} wrong:\n${lines.join("\n")}`,
      cause === undefined ? undefined : { cause },
    );
    this.name = "SettingsError";
    this.issues = Object.freeze(issues.map((issue) => Object.freeze({ ...issue })));
  }
}
