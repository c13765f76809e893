/**
 * The Content-Security-Policy directives that browsers act on, and the values of each. CSP Level 3, Trusted Types,
 * Fenced Frames. Dropped directives (plugin-types, navigate-to, prefetch-src, block-all-mixed-content, referrer) are
 * unknown on purpose: browsers ignore them, so they protect no site.
 */
export type DirectiveKind =
  | "fetch" // source list; falls back to another directive and at last to default-src
  | "sources" // source list without a fallback
  | "ancestors" // hosts, schemes, 'self', 'none'
  | "sandbox" // allow-… flags
  | "flag" // no value
  | "webrtc" // 'allow' or 'block'
  | "endpoint" // one name of Reporting-Endpoints
  | "uris" // URI references
  | "trusted-types" // policy names
  | "sinks"; // 'script'

export const DIRECTIVES = {
  /** Sources for every kind of content whose own directive is absent. */
  "default-src": "fetch",
  /** URLs that a `<base>` element may name. */
  "base-uri": "sources",
  /** Sources of frames and workers whose own directive is absent. */
  "child-src": "fetch",
  /** URLs that scripts may reach by fetch, XMLHttpRequest, WebSocket, EventSource and sendBeacon. */
  "connect-src": "fetch",
  /** Sources of `<fencedframe>` elements. */
  "fenced-frame-src": "fetch",
  /** Sources of fonts. */
  "font-src": "fetch",
  /** URLs that forms may be sent to. */
  "form-action": "sources",
  /** Pages that may embed this one in a frame. X-Frame-Options follows it unless set. */
  "frame-ancestors": "ancestors",
  /** Sources of frames. */
  "frame-src": "fetch",
  /** Sources of images and icons. */
  "img-src": "fetch",
  /** Sources of web app manifests. */
  "manifest-src": "fetch",
  /** Sources of audio, video and text tracks. */
  "media-src": "fetch",
  /** Sources of `<object>` and `<embed>` elements. */
  "object-src": "fetch",
  /** The endpoint of `reportingEndpoints` that violations are reported to: a list of one name. */
  "report-to": "endpoint",
  /** URLs that violations are posted to, for browsers without `report-to`. */
  "report-uri": "uris",
  /** `["'script'"]`: the DOM sinks that run scripts take Trusted Types only. */
  "require-trusted-types-for": "sinks",
  /**
   * Puts the page into a sandbox; the list names what it may do all the same, such as `allow-forms`. Enforced
   * policies only.
   */
  sandbox: "sandbox",
  /** Sources of scripts. `"'nonce'"` allows those that carry the nonce of the request (`res.locals.cspNonce`). */
  "script-src": "fetch",
  /** Whether inline event handlers run (`onclick="…"`). */
  "script-src-attr": "fetch",
  /** Sources of `<script>` elements, in place of `script-src`. */
  "script-src-elem": "fetch",
  /** Sources of style sheets. `"'nonce'"` allows those that carry the nonce of the request (`res.locals.cspNonce`). */
  "style-src": "fetch",
  /** Whether `style="…"` attributes apply. */
  "style-src-attr": "fetch",
  /** Sources of `<style>` and `<link rel="stylesheet">` elements, in place of `style-src`. */
  "style-src-elem": "fetch",
  /** Names of the Trusted Types policies that scripts may create. */
  "trusted-types": "trusted-types",
  /** `[]`: browsers load http URLs of the page by https. Enforced policies only; left out while `debug` is on. */
  "upgrade-insecure-requests": "flag",
  /** Whether the page may use WebRTC: `["'allow'"]` or `["'block'"]`. */
  webrtc: "webrtc",
  /** Sources of workers and service workers. */
  "worker-src": "fetch",
} as const satisfies Record<string, DirectiveKind>;

export type DirectiveName = keyof typeof DIRECTIVES;

/** One policy: directive to sources, in the order they are sent. */
export type Policy = ReadonlyMap<DirectiveName, readonly string[]>;

/** The source that stands for the nonce of each request. */
export const NONCE_SOURCE = "'nonce'";

/** Where a nonce has an effect: on elements, not on attributes or images. */
export const TAKES_NONCE: ReadonlySet<DirectiveName> = new Set([
  "default-src",
  "script-src",
  "script-src-elem",
  "style-src",
  "style-src-elem",
]);

/** Browsers ignore these in a report-only policy (CSP Level 3 section 6.3.2; upgrade-insecure-requests section 3.3). */
export const ENFORCED_ONLY: ReadonlySet<DirectiveName> = new Set(["sandbox", "upgrade-insecure-requests"]);

/** CSP Level 3 section 6.8.3: the directives that a missing one falls back to, nearest first. */
const FALLBACKS: Partial<Record<DirectiveName, readonly DirectiveName[]>> = {
  "script-src-elem": ["script-src", "default-src"],
  "script-src-attr": ["script-src", "default-src"],
  "style-src-elem": ["style-src", "default-src"],
  "style-src-attr": ["style-src", "default-src"],
  "worker-src": ["child-src", "script-src", "default-src"],
  "frame-src": ["child-src", "default-src"],
  "fenced-frame-src": ["frame-src", "child-src", "default-src"],
};

/**
 * What a directive allows in this policy, by itself or through its fallbacks; empty when the policy has none of them.
 */
export function effectiveSources(policy: Policy, name: DirectiveName): readonly string[] {
  const own = policy.get(name);
  if (own !== undefined) return own;
  if (DIRECTIVES[name] !== "fetch") return [];
  for (const other of FALLBACKS[name] ?? (["default-src"] as const)) {
    const found = policy.get(other);
    if (found !== undefined) return found;
  }
  return [];
}

/**
 * The default policy. Stricter than helmet's: base-uri and frame-ancestors are 'none' (ASVS 5.0 V3.4.3, V3.4.6), and
 * inline styles and arbitrary https hosts are not allowed.
 */
export function defaultPolicy(): Map<DirectiveName, readonly string[]> {
  return new Map<DirectiveName, readonly string[]>([
    ["default-src", ["'self'"]],
    ["base-uri", ["'none'"]],
    ["object-src", ["'none'"]],
    ["frame-ancestors", ["'none'"]],
    ["form-action", ["'self'"]],
    ["script-src", ["'self'"]],
    ["script-src-attr", ["'none'"]],
    ["style-src", ["'self'"]],
    ["img-src", ["'self'", "data:"]],
    ["font-src", ["'self'"]],
    ["upgrade-insecure-requests", []],
  ]);
}
