import { validateHeaderName, validateHeaderValue } from "node:http";
import type { HeaderLines } from "../core/response/header-buffer.js";
import { sfDictionary, sfString } from "../core/http/structured-fields.js";
import { withoutEnforcedOnly, type HeaderModel } from "./decide.js";
import { NONCE_SOURCE, type Policy } from "./directives.js";
import { helmetValues, policyText } from "./helmet-values.js";
import { permissionsText } from "./permissions.js";

const ENFORCED = "Content-Security-Policy";
const REPORT_ONLY = "Content-Security-Policy-Report-Only";
const TRANSPORT = "Strict-Transport-Security";

/** A policy header that names the nonce. */
export interface NoncedHeader {
  readonly name: string;
  /** Sent when the app does not read the nonce: the policy without it. */
  readonly unread: string;
  /** The text around each nonce source. */
  readonly parts: readonly string[];
}

/** Headers ready to be written. Built at start and shared by all requests. */
export interface HeaderPlan {
  readonly model: HeaderModel;
  /** For plain http. */
  readonly plain: HeaderLines;
  /** The same for secure requests. */
  readonly secure: HeaderLines;
  readonly values: ReadonlyMap<string, string>;
  readonly nonced: readonly NoncedHeader[];
}

/** Turns a model into header lines. @throws TypeError when a value cannot be sent (`ERR_INVALID_CHAR`) */
export function compilePlan(model: HeaderModel): HeaderPlan {
  const values = new Map<string, string>();
  const nonced: NoncedHeader[] = [];
  for (const [name, policies] of policyHeaders(model)) {
    const reportOnly = name === REPORT_ONLY;
    // One field may carry several policies, each of which is checked by itself (CSP Level 3 section 3.1).
    const text = policies.map((policy) => policyText(policy, reportOnly)).join(", ");
    const unread = policies.map((policy) => policyText(withoutNonce(policy), reportOnly)).join(", ");
    values.set(name, unread);
    if (text !== unread) nonced.push({ name, unread, parts: text.split(NONCE_SOURCE) });
  }
  for (const [name, value] of helmetValues(model)) values.set(name, value);
  // helmet only writes 0; "block" is for sites that have to satisfy a scanner.
  if (model.xss === "block") values.set("X-XSS-Protection", "1; mode=block");
  if (model.permissions !== false && model.permissions.size > 0)
    values.set("Permissions-Policy", permissionsText(model.permissions));
  if (model.endpoints.size > 0) {
    values.set("Reporting-Endpoints", sfDictionary([...model.endpoints].map(([name, url]) => [name, sfString(url)])));
  }
  const entries = [...values];
  for (const [name, value] of entries) {
    validateHeaderName(name);
    validateHeaderValue(name, value);
  }
  return Object.freeze({
    model,
    // RFC 6797 section 7.2: a host must not send it over plain http.
    plain: Object.freeze(entries.filter(([name]) => name !== TRANSPORT).flat()),
    secure: Object.freeze(entries.flat()),
    values,
    nonced,
  });
}

function policyHeaders(model: HeaderModel): [string, Policy[]][] {
  const watched = model.cspReportOnly === false ? [] : [model.cspReportOnly];
  const enforced = model.csp === false ? [] : [model.csp];
  const headers: [string, Policy[]][] = model.reportOnly
    ? [[REPORT_ONLY, [...enforced.map(withoutEnforcedOnly), ...watched]]]
    : [
        [ENFORCED, enforced],
        [REPORT_ONLY, watched],
      ];
  return headers.filter(([, policies]) => policies.length > 0);
}

/** A directive that allowed only the nonce allows nothing without it. */
function withoutNonce(policy: Policy): Policy {
  return new Map(
    [...policy].map(([name, sources]) => {
      if (!sources.includes(NONCE_SOURCE)) return [name, sources];
      const left = sources.filter((source) => source !== NONCE_SOURCE);
      return [name, left.length === 0 ? ["'none'"] : left];
    }),
  );
}
