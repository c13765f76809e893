import type { Secret } from "../core/secret.js";
import { debugContradictions } from "../session/settings.js";
import type { SettingsIssue } from "../settings/errors.js";
import type { ResolvedSecuritySettings, SecuritySettings } from "./schema.js";

type Parsed = Partial<ResolvedSecuritySettings>;
type Rule = (settings: Parsed, given: SecuritySettings) => Omit<SettingsIssue, "code"> | undefined;

/** The settings of a protection that is on, or `undefined`. */
function on<T>(value: T | false | undefined): T | undefined {
  return value === false ? undefined : value;
}

function sharesSecret(a: readonly Secret[] | undefined, b: readonly Secret[] | undefined): boolean {
  if (a === undefined || b === undefined) return false;
  return a.some((one) => b.some((other) => one.reveal() === other.reveal()));
}

/** The HMAC secrets of tokens, wherever they are configured. */
function tokenSecrets(jwt: Exclude<Parsed["jwt"], false>): readonly Secret[] {
  return [
    ...(jwt?.secret ?? []),
    ...(jwt?.keys ?? []).flatMap((key) => (key.secret === undefined ? [] : [key.secret])),
  ];
}

const authenticates = (settings: Parsed): boolean =>
  [settings.session, settings.apiKeys, settings.jwt].some((value) => on(value) !== undefined);

/** Each rule compares protections and reports at most one issue. */
const CONTRADICTIONS: readonly Rule[] = [
  ({ debug, session }) => {
    const options = on(session);
    return options && debugContradictions(options, debug === true)[0];
  },
  ({ session, csrf }) =>
    csrf === false && on(session)?.sameSite === "none"
      ? {
          path: "csrf",
          message:
            "Sessions with SameSite=None travel with every cross-site request, and nothing checks where it came from.",
          remedy: "Remove csrf: false, or use sameSite lax.",
        }
      : undefined,
  ({ trustedHosts, trustProxy }) =>
    on(trustedHosts)?.forwardedHost === true && (trustProxy === false || trustProxy === 0)
      ? {
          path: "trustedHosts.forwardedHost",
          message: "X-Forwarded-Host is believed from a trusted proxy only, and trustProxy names none.",
          remedy: "Set trustProxy, or remove forwardedHost.",
        }
      : undefined,
  ({ trustProxy }) =>
    Array.isArray(trustProxy) && trustProxy.some((range) => /\/0$/.test(String(range)))
      ? {
          path: "trustProxy",
          message:
            "A /0 range trusts everyone as a proxy, so every client can choose the address it is known and limited by.",
          remedy: "List the addresses of your proxies alone.",
        }
      : undefined,
  (settings) =>
    on(settings.rateLimit)?.key === "principal" && !authenticates(settings)
      ? {
          path: "rateLimit.key",
          message: "Limits are counted by principal, and no protection proves one.",
          remedy: 'Turn on session, apiKeys or jwt, or use key: "address".',
        }
      : undefined,
  (settings) =>
    on(settings.rateLimit)?.perPrincipal !== undefined && !authenticates(settings)
      ? {
          path: "rateLimit.perPrincipal",
          message: "There is a limit for each principal, and no protection proves one.",
          remedy: "Turn on session, apiKeys or jwt, or remove perPrincipal.",
        }
      : undefined,
  ({ secretKey, session }) =>
    sharesSecret(secretKey, on(session)?.secret)
      ? {
          path: "session.secret",
          message: "The sessions' secret is the root secret too; two purposes never share a key.",
          remedy: "Remove session.secret: one is derived from secretKey.",
        }
      : undefined,
  ({ secretKey, jwt }) =>
    sharesSecret(secretKey, tokenSecrets(on(jwt)))
      ? {
          path: "jwt.secret",
          message: "The tokens' secret is the root secret too; two purposes never share a key.",
          remedy: "Remove jwt.secret: one is derived from secretKey.",
        }
      : undefined,
  ({ session, jwt }) =>
    sharesSecret(on(session)?.secret, tokenSecrets(on(jwt)))
      ? {
          path: "jwt.secret",
          message: "Sessions and tokens have the same secret; two purposes never share a key.",
          remedy: "Give each its own, or set secretKey alone.",
        }
      : undefined,
];

/** Settings that other settings require. */
const REQUIREMENTS: readonly Rule[] = [
  ({ trustedHosts }, given) =>
    trustedHosts === undefined && given.trustedHosts === undefined
      ? {
          path: "trustedHosts",
          message: "The names this service answers to are not given.",
          remedy: 'List them: trustedHosts: ["api.example.com"]. With debug: true it is the loopback names.',
        }
      : undefined,
  ({ session }, given) =>
    on(session) !== undefined && on(session)?.secret === undefined && given.secretKey === undefined
      ? {
          path: "secretKey",
          message: "Sessions sign their cookies, and there is no secret.",
          remedy: "Set secretKey (SECRET_KEY), at least 32 random bytes.",
        }
      : undefined,
  ({ jwt }, given) => {
    const options = on(jwt);
    if (options === undefined || given.secretKey !== undefined) return undefined;
    if (options.secret !== undefined || options.privateKey !== undefined || options.keys !== undefined)
      return undefined;
    return {
      path: "secretKey",
      message: "Tokens are signed with an HMAC, and there is no secret.",
      remedy: "Set secretKey (SECRET_KEY), at least 32 random bytes, or jwt.secret.",
    };
  },
  ({ apiKeys }, given) =>
    on(apiKeys)?.hash === "hmac-sha256" && on(apiKeys)?.secret === undefined && given.secretKey === undefined
      ? {
          path: "secretKey",
          message: "API keys are kept as HMACs, and there is no secret.",
          remedy: "Set secretKey (SECRET_KEY), at least 32 random bytes.",
        }
      : undefined,
];

/** Settings that would work, but are dangerous. */
const DANGERS: readonly Rule[] = [
  ({ debug }) =>
    debug === true && process.env.NODE_ENV === "production"
      ? {
          path: "debug",
          message: "NODE_ENV is production, and debug takes Secure from the cookies and leaves out HSTS.",
          remedy: "Remove debug (PORTCULLIS_DEBUG), or run with another NODE_ENV.",
        }
      : undefined,
];

/** Issues that no protection can detect on its own. */
export function contradictions(settings: Parsed, given: SecuritySettings): SettingsIssue[] {
  const found = (rules: readonly Rule[], code: SettingsIssue["code"]): SettingsIssue[] =>
    rules.flatMap((rule) => {
      const issue = rule(settings, given);
      return issue === undefined ? [] : [{ code, ...issue }];
    });
  return [
    ...found(REQUIREMENTS, "missing-setting"),
    ...found(CONTRADICTIONS, "contradiction"),
    ...found(DANGERS, "unsafe-setting"),
  ];
}
