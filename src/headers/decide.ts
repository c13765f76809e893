import {
  defaultPolicy,
  DIRECTIVES,
  effectiveSources,
  ENFORCED_ONLY,
  type DirectiveName,
  type Policy,
} from "./directives.js";
import type { DirectiveSettings } from "./fields.js";
import { DENIED_FEATURES, type PermissionsAllowlist, type Permissions } from "./permissions.js";
import type { ResolvedHeadersSettings, ResolvedHeadersPatch } from "./settings.js";

/** The header values before they become text; `false` sends no header. */
export interface HeaderModel {
  /** The enforced policy is sent as report-only (`mode: "report"`). */
  readonly reportOnly: boolean;
  readonly csp: Policy | false;
  readonly cspReportOnly: Policy | false;
  readonly transport:
    { readonly maxAge: number; readonly includeSubDomains: boolean; readonly preload: boolean } | false;
  readonly permissions: Permissions | false;
  readonly referrer: readonly string[] | false;
  readonly frame: "DENY" | "SAMEORIGIN" | false;
  readonly xss: ResolvedHeadersSettings["xssProtection"];
  readonly opener: ResolvedHeadersSettings["crossOriginOpenerPolicy"];
  readonly resource: ResolvedHeadersSettings["crossOriginResourcePolicy"];
  readonly embedder: ResolvedHeadersSettings["crossOriginEmbedderPolicy"];
  readonly endpoints: ReadonlyMap<string, string>;
}

/**
 * The headers that the settings ask for.
 *
 * @param debug leaves out what plain http breaks: HSTS and upgrade-insecure-requests
 */
export function decideHeaders(options: ResolvedHeadersSettings, debug: boolean): HeaderModel {
  const { contentSecurityPolicy: enforced, contentSecurityPolicyReportOnly: watched, frameOptions } = options;
  const csp = enforced !== false && policyOf(enforced.directives, enforced.useDefaults);
  // When only one of the two is set, it determines the other, so that they cannot contradict each other by default.
  if (csp !== false && enforced.useDefaults && enforced.directives["frame-ancestors"] === undefined && frameOptions) {
    csp.set("frame-ancestors", ancestorsFor(frameOptions));
  }
  if (debug && csp !== false) csp.delete("upgrade-insecure-requests");
  return {
    reportOnly: options.mode === "report",
    csp,
    cspReportOnly:
      watched !== undefined &&
      watched !== false &&
      withoutEnforcedOnly(policyOf(watched.directives, watched.useDefaults)),
    transport: debug ? false : options.strictTransportSecurity,
    permissions:
      options.permissionsPolicy !== false &&
      overlaid(
        options.permissionsPolicy,
        DENIED_FEATURES.map((name) => [name, []] as const),
      ),
    referrer: referrerList(options.referrerPolicy),
    frame: frameOptions ?? frameFor(csp),
    xss: options.xssProtection,
    opener: options.crossOriginOpenerPolicy,
    resource: options.crossOriginResourcePolicy,
    embedder: options.crossOriginEmbedderPolicy,
    endpoints: new Map(Object.entries(options.reportingEndpoints)),
  };
}

/** The headers of a route: sources are added to the policies, other headers are replaced, and everything else stays. */
export function patchHeaders(model: HeaderModel, patch: ResolvedHeadersPatch, debug: boolean): HeaderModel {
  const enforced = patch.contentSecurityPolicy;
  const watched = patch.contentSecurityPolicyReportOnly;
  const csp =
    enforced === undefined
      ? copyOf(model.csp)
      : enforced !== false && patched(model.csp || defaultPolicy(), enforced.directives);
  if (debug && csp !== false) csp.delete("upgrade-insecure-requests");
  const patchesAncestors =
    enforced !== undefined && enforced !== false && enforced.directives["frame-ancestors"] !== undefined;
  if (patch.frameOptions && !patchesAncestors && csp !== false && csp.has("frame-ancestors")) {
    csp.set("frame-ancestors", ancestorsFor(patch.frameOptions));
  }
  return {
    reportOnly: model.reportOnly,
    csp,
    cspReportOnly:
      watched === undefined
        ? model.cspReportOnly
        : watched !== false && withoutEnforcedOnly(patched(model.cspReportOnly || defaultPolicy(), watched.directives)),
    transport: debug ? false : (patch.strictTransportSecurity ?? model.transport),
    permissions:
      patch.permissionsPolicy === undefined
        ? model.permissions
        : patch.permissionsPolicy !== false &&
          overlaid(patch.permissionsPolicy, model.permissions === false ? [] : [...model.permissions]),
    referrer: patch.referrerPolicy === undefined ? model.referrer : referrerList(patch.referrerPolicy),
    frame: patch.frameOptions ?? (patchesAncestors ? frameFor(csp) : model.frame),
    xss: patch.xssProtection ?? model.xss,
    opener: patch.crossOriginOpenerPolicy ?? model.opener,
    resource: patch.crossOriginResourcePolicy ?? model.resource,
    embedder: patch.crossOriginEmbedderPolicy ?? model.embedder,
    endpoints: new Map([...model.endpoints, ...Object.entries(patch.reportingEndpoints ?? {})]),
  };
}

/** The policy for report-only: without the directives that browsers ignore there. */
export function withoutEnforcedOnly(policy: Policy): Policy {
  return new Map([...policy].filter(([name]) => !ENFORCED_ONLY.has(name)));
}

function policyOf(directives: DirectiveSettings, useDefaults: boolean): Map<DirectiveName, readonly string[]> {
  const policy = useDefaults ? defaultPolicy() : new Map<DirectiveName, readonly string[]>();
  for (const [name, sources] of entriesOf(directives)) {
    if (sources === false) policy.delete(name);
    else policy.set(name, sources);
  }
  return policy;
}

function patched(policy: Policy, directives: DirectiveSettings): Map<DirectiveName, readonly string[]> {
  const result = new Map(policy);
  for (const [name, sources] of entriesOf(directives)) {
    if (sources === false) result.delete(name);
    else result.set(name, added(policy, name, sources));
  }
  return result;
}

/** Adding to a missing directive starts from its fallback; otherwise the route would lose the fallback's sources. */
function added(policy: Policy, name: DirectiveName, sources: readonly string[]): readonly string[] {
  const kind = DIRECTIVES[name];
  if (kind === "endpoint" || kind === "webrtc" || (sources.length === 1 && sources[0] === "'none'")) return sources;
  return [...new Set([...effectiveSources(policy, name), ...sources])].filter((source) => source !== "'none'");
}

function copyOf(policy: Policy | false): Map<DirectiveName, readonly string[]> | false {
  return policy !== false && new Map(policy);
}

function ancestorsFor(frame: "DENY" | "SAMEORIGIN"): readonly string[] {
  return frame === "DENY" ? ["'none'"] : ["'self'"];
}

/** X-Frame-Options as the older form of `frame-ancestors`; `false` where it cannot express the same. */
export function frameFor(csp: Policy | false): "DENY" | "SAMEORIGIN" | false {
  const ancestors = csp === false ? undefined : csp.get("frame-ancestors");
  if (ancestors === undefined) return "DENY";
  if (ancestors.length !== 1) return false;
  return ancestors[0] === "'none'" ? "DENY" : ancestors[0] === "'self'" && "SAMEORIGIN";
}

/** The new entries come first, then the earlier ones that are not replaced. */
function overlaid(
  set: Readonly<Record<string, PermissionsAllowlist | false>>,
  under: readonly (readonly [string, PermissionsAllowlist])[],
): Permissions {
  const result = new Map<string, PermissionsAllowlist>();
  for (const [name, allow] of Object.entries(set)) if (allow !== false) result.set(name, allow);
  for (const [name, allow] of under) if (!Object.hasOwn(set, name)) result.set(name, allow);
  return result;
}

function referrerList(policy: string | readonly string[] | false): readonly string[] | false {
  return typeof policy === "string" ? [policy] : policy;
}

function entriesOf(directives: DirectiveSettings): [DirectiveName, readonly string[] | false][] {
  return (Object.entries(directives) as [DirectiveName, readonly string[] | false | undefined][]).filter(
    (entry): entry is [DirectiveName, readonly string[] | false] => entry[1] !== undefined,
  );
}
