import { CspEvaluator } from "csp_evaluator";
import { type Finding, Severity } from "csp_evaluator/dist/finding.js";
import { CspParser } from "csp_evaluator/dist/parser.js";

/**
 * What Google's evaluator asks about and what an app, not a library, can answer. Everything else from "medium, maybe" on
 * counts as a weakness.
 */
const ACCEPTED = [
  {
    severity: Severity.MEDIUM_MAYBE,
    directive: "script-src",
    value: "'self'",
    reason:
      "'self' is dangerous where an app serves JSONP, AngularJS or uploaded files from its own origin; without it no script of the app would load, and an app that gives its scripts nonces replaces it by 'nonce'",
  },
] as const;

/** None of these is "maybe not": CSP that is misspelt protects as little as CSP that is weak. */
const WEAK: ReadonlySet<Severity> = new Set([
  Severity.HIGH,
  Severity.MEDIUM,
  Severity.SYNTAX,
  Severity.HIGH_MAYBE,
  Severity.MEDIUM_MAYBE,
]);

export interface Evaluation {
  weaknesses: string[];
  /** What is reported and does not count, with the reason. */
  accepted: string[];
  /** Advice and information. */
  others: string[];
}

export function evaluate(policy: string): Evaluation {
  const evaluation: Evaluation = { weaknesses: [], accepted: [], others: [] };
  for (const finding of new CspEvaluator(new CspParser(policy).csp).evaluate()) {
    const excuse = ACCEPTED.find(
      ({ severity, directive, value }) =>
        finding.severity === severity && finding.directive === directive && finding.value === value,
    );
    if (excuse !== undefined) evaluation.accepted.push(`${inWords(finding)} [not counted: ${excuse.reason}]`);
    else evaluation[WEAK.has(finding.severity) ? "weaknesses" : "others"].push(inWords(finding));
  }
  return evaluation;
}

const inWords = ({ severity, directive, value, description }: Finding): string =>
  `${Severity[severity]} ${[directive, value].filter(Boolean).join(" ")}: ${description}`;
