import { addressRangeProblem, coversInternet } from "../core/http/address-list.js";
import type { Secret } from "../core/secret.js";
import { plainHttpIssues } from "../jwt/issuers/settings.js";
import { debugContradictions } from "../session/settings.js";
import type { SettingsIssue } from "../settings/errors.js";
import { UNKNOWN_PROXY } from "../settings/unknown-proxy.js";
import { GENERATE_SECRET } from "../settings/secrets.js";
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
  ({ session }) =>
    on(session)?.secure === undefined
      ? undefined
      : {
          path: "session.secure",
          message: "secure is a setting of sessions() alone. Here the cookie is Secure unless debug is on.",
          remedy: "Remove secure. For plain http while you develop, set debug: true.",
        },
  ({ session, csrf }) =>
    csrf === false && on(session)?.sameSite === "none"
      ? {
          path: "csrf",
          message:
            "Browsers send SameSite=None session cookies with cross-site requests, but csrf is off, so no protection checks their origin.",
          remedy: 'Remove csrf: false, or set session.sameSite to "lax".',
        }
      : undefined,
  ({ trustedHosts, trustProxy }) =>
    on(trustedHosts)?.forwardedHost === true && (trustProxy === false || trustProxy === 0)
      ? {
          path: "trustedHosts.forwardedHost",
          message: "forwardedHost needs a trusted proxy, but trustProxy is off.",
          remedy: "Set trustProxy, or remove forwardedHost.",
        }
      : undefined,
  ({ trustProxy }) =>
    typeof trustProxy === "object" &&
    coversInternet(trustProxy.filter((range) => addressRangeProblem(range) === undefined))
      ? {
          path: "trustProxy",
          message:
            "This contains a large part of all addresses and trusts every client as a proxy, so any client can choose its own address and evade the rate limit.",
          remedy: "List only the addresses of your proxies.",
        }
      : undefined,
  ({ rateLimit, debug }, given) =>
    on(rateLimit)?.deny !== undefined && given.trustProxy === undefined && debug !== true
      ? { path: "trustProxy", ...UNKNOWN_PROXY }
      : undefined,
  (settings) =>
    on(settings.rateLimit)?.key === "principal" && !authenticates(settings)
      ? {
          path: "rateLimit.key",
          message: 'key: "principal" needs an authentication method, but none is on.',
          remedy: 'Turn on session, apiKeys or jwt, or use key: "address".',
        }
      : undefined,
  (settings) =>
    on(settings.rateLimit)?.perPrincipal !== undefined && !authenticates(settings)
      ? {
          path: "rateLimit.perPrincipal",
          message: "perPrincipal needs an authentication method, but none is on.",
          remedy: "Turn on session, apiKeys or jwt, or remove perPrincipal.",
        }
      : undefined,
  ({ secretKey, session }) =>
    sharesSecret(secretKey, on(session)?.secret)
      ? {
          path: "session.secret",
          message: "session.secret is the same secret as secretKey. Each purpose needs its own secret.",
          remedy: "Remove session.secret; it is then derived from secretKey.",
        }
      : undefined,
  ({ secretKey, jwt }) =>
    sharesSecret(secretKey, tokenSecrets(on(jwt)))
      ? {
          path: "jwt.secret",
          message: "jwt.secret is the same secret as secretKey. Each purpose needs its own secret.",
          remedy: "Remove jwt.secret; it is then derived from secretKey.",
        }
      : undefined,
  ({ session, jwt }) =>
    sharesSecret(on(session)?.secret, tokenSecrets(on(jwt)))
      ? {
          path: "jwt.secret",
          message: "jwt.secret is the same secret as session.secret. Each purpose needs its own secret.",
          remedy: "Use two different secrets, or set only secretKey; both are then derived from it.",
        }
      : undefined,
];

/** Settings that other settings require. */
const REQUIREMENTS: readonly Rule[] = [
  ({ trustedHosts }, given) =>
    trustedHosts === undefined && given.trustedHosts === undefined
      ? {
          path: "trustedHosts",
          message: "This setting is required: the host names that this app answers for.",
          remedy:
            'Write trustedHosts: ["api.example.com"] (ALLOWED_HOSTS). With debug: true the default is the loopback names.',
        }
      : undefined,
  (settings, given) => {
    if (given.secretKey !== undefined) return undefined;
    const [first, ...others] = withoutSecret(settings);
    if (first === undefined) return undefined;
    const orElse = others.length === 0 && first.orElse !== undefined ? `, or set ${first.orElse}` : "";
    return {
      path: "secretKey",
      message: [first, ...others].map(({ message }) => message).join(" "),
      remedy: `Set secretKey (SECRET_KEY) to a random secret${orElse}. ${GENERATE_SECRET}`,
    };
  },
];

/** The protections that are on and have no secret of their own, and what each could have instead of `secretKey`. */
function withoutSecret({ session, jwt, apiKeys }: Parsed): { message: string; orElse?: string }[] {
  const [sessions, tokens, keys] = [on(session), on(jwt), on(apiKeys)];
  return [
    ...(sessions !== undefined && sessions.secret === undefined
      ? [{ message: "Sessions need a secret to sign their cookies." }]
      : []),
    ...(tokens !== undefined &&
    tokens.issuers === undefined &&
    (tokens.secret ?? tokens.privateKey ?? tokens.keys) === undefined
      ? [
          {
            message: "JWTs need a secret or a private key for signing.",
            orElse: "jwt.secret, jwt.privateKey or jwt.keys",
          },
        ]
      : []),
    ...(keys?.hash === "hmac-sha256" && keys.secret === undefined
      ? [{ message: 'hash: "hmac-sha256" needs a secret.' }]
      : []),
  ];
}

/** Settings that would work, but are dangerous. */
const DANGERS: readonly Rule[] = [
  ({ debug }) =>
    debug === true && process.env.NODE_ENV === "production"
      ? {
          path: "debug",
          message: "debug is on while NODE_ENV is production: cookies would not be Secure, and HSTS would not be sent.",
          remedy: "Remove debug (PORTCULLIS_DEBUG). For development, set NODE_ENV to development.",
        }
      : undefined,
];

/** Keys of other issuers that would be fetched over plain http. */
function plainHttpKeys({ jwt, debug }: Parsed): SettingsIssue[] {
  const issuers = on(jwt)?.issuers;
  return issuers === undefined ? [] : plainHttpIssues(issuers, debug === true, "jwt.issuers");
}

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
    ...plainHttpKeys(settings),
  ];
}
