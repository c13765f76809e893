import type { SettingsIssue } from "../settings/errors.js";
import { frameFor, type HeaderModel } from "./decide.js";
import { NONCE_SOURCE, type DirectiveName, type Policy } from "./directives.js";
import { UNSAFE_INLINE_WITH_NONCE } from "./source-lint.js";

/** One contradiction between settings that are valid by themselves. */
export interface ModelProblem {
  readonly code: SettingsIssue["code"];
  readonly path: readonly string[];
  readonly message: string;
  readonly remedy: string;
}

/** Problems that only show when settings are combined, or a layer with its route's patch. */
export function modelProblems(model: HeaderModel): ModelProblem[] {
  return [
    ...policyProblems("contentSecurityPolicy", model.csp, model),
    ...policyProblems("contentSecurityPolicyReportOnly", model.cspReportOnly, model),
    ...frameProblems(model),
  ];
}

function policyProblems(setting: string, policy: Policy | false, model: HeaderModel): ModelProblem[] {
  if (policy === false) return [];
  const path = [setting, "directives"];
  const problems: ModelProblem[] = [];
  if (policy.size === 0) {
    problems.push({
      code: "missing-setting",
      path,
      message: "The policy has no directives.",
      remedy: "Add directives, remove useDefaults: false, or set the policy to false.",
    });
  } else if (setting === "contentSecurityPolicy" && !policy.has("default-src")) {
    problems.push({
      code: "missing-setting",
      path: [...path, "default-src"],
      message: "Without default-src, a policy allows every resource type that it does not list.",
      remedy: 'Add "default-src": ["\'none\'"] or ["\'self\'"].',
    });
  }
  for (const [name, sources] of policy) {
    if (sources.includes(NONCE_SOURCE) && sources.includes("'unsafe-inline'")) {
      const { code, message, remedy } = UNSAFE_INLINE_WITH_NONCE;
      problems.push({ code, path: [...path, name], message, remedy });
    }
  }
  return [...problems, ...endpointProblems([...path, "report-to" satisfies DirectiveName], policy, model)];
}

function endpointProblems(path: readonly string[], policy: Policy, model: HeaderModel): ModelProblem[] {
  const [endpoint] = policy.get("report-to") ?? [];
  if (endpoint === undefined || model.endpoints.has(endpoint)) return [];
  return [
    {
      code: "contradiction",
      path,
      message:
        "report-to names an endpoint that reportingEndpoints does not contain, so browsers would send no reports.",
      remedy: "Add the endpoint with its URL to reportingEndpoints.",
    },
  ];
}

/** Browsers that know frame-ancestors ignore X-Frame-Options, so both must allow the same. */
function frameProblems(model: HeaderModel): ModelProblem[] {
  if (model.frame === false || model.csp === false || !model.csp.has("frame-ancestors")) return [];
  const expected = frameFor(model.csp);
  if (expected === model.frame) return [];
  const remedy =
    expected === false
      ? "Set frameOptions: false; X-Frame-Options cannot express this list."
      : `Remove frameOptions, set it to "${expected}", or change frame-ancestors.`;
  return [
    {
      code: "contradiction",
      path: ["frameOptions"],
      message: `X-Frame-Options ${model.frame} contradicts frame-ancestors of the policy, which takes precedence in browsers.`,
      remedy,
    },
  ];
}
