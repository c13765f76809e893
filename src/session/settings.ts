import type { ExpressSessionStore } from "../stores/express-session.js";
import { z } from "zod";
import { loadTldts } from "../core/dependencies.js";
import { modeSchema } from "../settings/common.js";
import { durationSchema, MAX_SESSION_SECONDS, momentSchema } from "../settings/durations.js";
import type { SettingsIssue } from "../settings/errors.js";
import { addIssue, selectSchema, settingsObject, settingsObjectLike } from "../settings/object.js";
import { PEER_NAMES } from "../settings/peer-names.js";
import { formerSecretRingSchema, secretRingSchema } from "../settings/secrets.js";

/** NIST SP 800-63B-4 section 2.2.3 (AAL2): log in again after an hour idle, and after a day in any case. */
const DEFAULT_MAX_AGE = 3600;
const DEFAULT_ABSOLUTE_MAX_AGE = 86_400;

const HOST_NAME = /^(?=.{1,253}$)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)+$/;

/** A token by RFC 9110 section 5.6.2, short enough that name and value stay far below 4096 bytes. */
const cookieNameSchema = z.string().superRefine((name, context) => {
  if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$/.test(name)) {
    addIssue(context, {
      code: "wrong-value",
      message: "This is not a valid cookie name.",
      remedy: "Use 1 to 128 letters, digits, '-', '_' or '.'.",
    });
  } else if (/^__(?:http|host|secure|host-http)-/i.test(name) && !/^__(?:Host|Secure)-(?!__|Http-)./.test(name)) {
    addIssue(context, {
      code: "wrong-value",
      message: "The name begins with a cookie prefix that is not supported here.",
      remedy: "Remove the prefix: __Host- (or __Secure- with a domain) is added automatically.",
    });
  }
});

/** A path of a cookie: no `;`, which would begin another attribute, and no slash at the end. */
const cookiePathSchema = z.string().superRefine((path, context) => {
  if (path === "/" || /^(?:\/[\x21-\x2e\x30-\x3a\x3c-\x3e\x40-\x7e]+)+$/.test(path)) return;
  addIssue(context, {
    code: "wrong-value",
    message: "This is not a path for a cookie.",
    remedy: "Write an absolute path without a slash at the end, such as /admin.",
  });
});

const lifeSchema = durationSchema("seconds", 1, MAX_SESSION_SECONDS);

/** Any express-session store: an object with `get`, `set` and `destroy`. */
const storeSchema = z.custom<ExpressSessionStore>().superRefine((store, context) => {
  const methods = ["get", "set", "destroy"];
  const found = store as unknown as Record<string, unknown> | null;
  if (typeof found === "object" && found !== null && methods.every((name) => typeof found[name] === "function")) return;
  addIssue(context, {
    code: "wrong-type",
    message: "This is not an express-session store.",
    remedy: "Pass an instance (not the class) of a store made for express-session, or remove `store` to use memory.",
  });
});

const NO_COOKIE_NAME = z.unknown().superRefine((_value, context) =>
  addIssue(context, {
    code: "missing-setting",
    message: "The name of the old sessions' cookie is missing.",
    remedy: 'Write cookieName: "connect.sid", or the `name` that you passed to express-session.',
  }),
);
const NO_END = z.unknown().superRefine((_value, context) =>
  addIssue(context, {
    code: "missing-setting",
    message: "The date after which old cookies are no longer read is missing.",
    remedy: 'Write until: "2027-01-31", a date by which the old sessions have ended.',
  }),
);
const oldCookieNameSchema = z.string().regex(/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$/, "This is not a valid cookie name.");

const migrateFromSchema = settingsObject({
  /** The `name` of express-session: `connect.sid` unless the app named it. Required. */
  cookieName: selectSchema<string, string>((value) => (value === undefined ? NO_COOKIE_NAME : oldCookieNameSchema)),
  /**
   * The `secret` of express-session, or a list of them. It only verifies, so it may be short. Default:
   * `session.secret`.
   */
  secret: formerSecretRingSchema.optional(),
  /** When to stop reading old cookies: a Date, ISO 8601 text, or milliseconds since the epoch. Required. */
  until: selectSchema<z.input<typeof momentSchema>, number>((value) => (value === undefined ? NO_END : momentSchema)),
});

const shape = settingsObjectLike(PEER_NAMES["express-session"], {
  /**
   * Signs the cookie in the way express-session does: text of at least 32 bytes, or a list of which the first signs
   * and all verify. Default: a key derived from `secretKey`.
   */
  secret: secretRingSchema.optional(),
  /**
   * Name of the cookie without prefix: `__Host-` (`__Secure-` with a `domain`) is put in front unless `debug` is on.
   * Default: `"mcp_session"`.
   */
  cookieName: cookieNameSchema.default("mcp_session"),
  /**
   * Idle time-out in seconds: a session ends when no request uses it for this long. At most 400 days. Default: `3600`.
   */
  maxAge: lifeSchema.default(DEFAULT_MAX_AGE),
  /**
   * Absolute time-out in seconds: a session ends this long after it began or its user logged in, however much it is
   * used. At most 400 days. Default: `86400`, or `maxAge` when that is longer.
   */
  absoluteMaxAge: lifeSchema.optional(),
  /**
   * How long the browser keeps the cookie: `idle` for as long as the session may stay unused, `browser` until the
   * browser ends. A log-in with a `maxAge` of its own keeps it that long in any case. Default: `"idle"`.
   */
  cookieLifetime: z.enum(["idle", "browser"]).default("idle"),
  /** SameSite of the cookie. Default: `"lax"`. */
  sameSite: z.enum(["lax", "strict", "none"]).default("lax"),
  /**
   * Shares the cookie with every host below this domain. It weakens the cookie, because each of those hosts can set
   * it. A public suffix (`co.uk`) is refused. Default: the host alone.
   */
  domain: z.string().optional(),
  /**
   * Path of the cookie: requests for other paths have no session. Its prefix is `__Secure-` then. Default: `"/"`.
   */
  path: cookiePathSchema.default("/"),
  /**
   * Gives the cookie one value for each site that embeds this one (CHIPS). Needs Secure; left out over plain http.
   * Default: `false`.
   */
  partitioned: z.boolean().default(false),
  /**
   * For `sessions()` alone; `applySecurity` decides by `debug`. Whether the cookie is Secure: `false` for plain http,
   * `"auto"` for what the request came by (`req.secure`). Without Secure the name has no prefix. Default: `true`.
   */
  secure: z.literal([true, false, "auto"]).optional(),
  /**
   * Where sessions are kept: a store made for express-session. Default: the Redis of `redis`, or the memory of this
   * process.
   */
  store: storeSchema.optional(),
  /**
   * Also reads the cookie of the express-session that this app ran before, with the same `store`: each of its
   * sessions is adopted once, with its data, under a new id and our cookie. Its `until` may be given in milliseconds
   * since the epoch. Default: none; old sessions end.
   */
  migrateFrom: migrateFromSchema.optional(),
  /** How long one call of the store may take, in milliseconds. After that the request gets 503. Default: `250`. */
  storeTimeoutMs: z.int().min(1).max(60_000).default(250),
  /** Greatest number of sessions in the memory store. Default: `100000`. */
  maxSessions: z.int().min(1).max(100_000_000).default(100_000),
  /** `report` announces what it would refuse as an event and lets the request pass. Default: `"enforce"`. */
  mode: modeSchema,
});

/** Settings of `sessions`. Lengths of time are seconds unless the name ends in `Ms`. */
export const sessionSchema = shape
  .superRefine((settings, context) => {
    if (settings.absoluteMaxAge !== undefined && settings.absoluteMaxAge < settings.maxAge) {
      addIssue(context, {
        code: "contradiction",
        path: ["absoluteMaxAge"],
        message:
          "The absolute time-out is shorter than the idle time-out (maxAge), so the idle time-out would never apply.",
        remedy: "Set absoluteMaxAge to at least maxAge.",
      });
    }
    if (
      settings.migrateFrom !== undefined &&
      settings.migrateFrom.secret === undefined &&
      settings.secret === undefined
    ) {
      addIssue(context, {
        code: "missing-setting",
        path: ["migrateFrom", "secret"],
        message: "Old cookies can only be verified with the secret that signed them.",
        remedy: "Set migrateFrom.secret to the secret that express-session used.",
      });
    }
    if (settings.migrateFrom !== undefined && settings.store === undefined) {
      addIssue(context, {
        code: "missing-setting",
        path: ["store"],
        message: "migrateFrom adopts sessions from the store that express-session used, but no store is set.",
        remedy: "Set store to that store. Or remove migrateFrom; the old sessions then end.",
      });
    }
    checkCookie(settings, context);
    if (settings.domain === undefined) return;
    if (!HOST_NAME.test(settings.domain)) {
      addIssue(context, {
        code: "wrong-value",
        path: ["domain"],
        message: "This is not a valid cookie domain.",
        remedy:
          "Write a lower-case host name with at least two labels and no leading dot (example.com), or remove domain.",
      });
    } else if (loadTldts().getPublicSuffix(settings.domain, { allowPrivateDomains: true }) === settings.domain) {
      addIssue(context, {
        code: "wrong-value",
        path: ["domain"],
        message: "This is a public suffix: the domains below it belong to many owners, and browsers reject the cookie.",
        remedy: "Write your own domain below it (example.co.uk instead of co.uk), or remove domain.",
      });
    }
    if (settings.cookieName.startsWith("__Host-")) {
      addIssue(context, {
        code: "contradiction",
        path: ["domain"],
        message: "A cookie with the prefix __Host- cannot have a domain: browsers would reject it.",
        remedy: "Remove domain, or the prefix from cookieName.",
      });
    }
  })
  .transform((settings) => ({
    ...settings,
    absoluteMaxAge: settings.absoluteMaxAge ?? Math.max(DEFAULT_ABSOLUTE_MAX_AGE, settings.maxAge),
  }));

/** What the attributes of the cookie require of each other. */
function checkCookie(settings: z.output<typeof shape>, context: z.core.$RefinementCtx): void {
  const { cookieName, partitioned, path, sameSite, secure } = settings;
  if (path !== "/" && cookieName.startsWith("__Host-")) {
    addIssue(context, {
      code: "contradiction",
      path: ["path"],
      message: "A cookie with the prefix __Host- must have the path /: browsers would reject it.",
      remedy: "Remove path, or the prefix from cookieName.",
    });
  }
  if (secure !== false) return;
  for (const [name, needsSecure] of [
    ["sameSite", sameSite === "none"],
    ["partitioned", partitioned],
  ] as const) {
    if (!needsSecure) continue;
    addIssue(context, {
      code: "contradiction",
      path: [name],
      message: "Browsers reject such a cookie without Secure.",
      remedy: `Remove ${name}, or secure: false.`,
    });
  }
}

/** Settings of sessions: `sessions(settings)` and `session` of `applySecurity`. */
export interface SessionSettings extends z.input<typeof sessionSchema> {}
/** Settings of sessions with every default filled in. */
export interface ResolvedSessionSettings extends z.output<typeof sessionSchema> {}

/** The cookie and secret of sessions that express-session created. */
export type ResolvedMigrateFromSettings = NonNullable<ResolvedSessionSettings["migrateFrom"]>;

/** Settings that conflict with `debug`, which is not part of them. Paths are those of `applySecurity`. */
export function debugContradictions(
  options: Pick<ResolvedSessionSettings, "sameSite">,
  debug: boolean,
): SettingsIssue[] {
  if (!debug || options.sameSite !== "none") return [];
  return [
    {
      code: "contradiction",
      path: "session.sameSite",
      message: "SameSite=None needs a Secure cookie, but debug turns Secure off: browsers would reject the cookie.",
      remedy: 'Use sameSite: "lax" in development, or turn debug off and serve https.',
    },
  ];
}
