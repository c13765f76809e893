import type { ZodType } from "zod";
import type { ResolvedSecuritySettings } from "../app-settings/schema.js";
import { parseAuthority } from "../core/http/authority.js";
import type { SettingsIssue } from "../settings/errors.js";
import { checked } from "../settings/object.js";
import { GENERATE_SECRET } from "../settings/secrets.js";
import { HostPatterns } from "../trusted-host/host-patterns.js";
import { accountsSchema, type AccountsSettings } from "./settings.js";

type App = Pick<ResolvedSecuritySettings, "jwt" | "secretKey" | "session" | "trustedHosts">;

/**
 * What is wrong between the settings of accounts and those of the app. Each setting of accounts is read for itself, so that
 * these issues are reported beside those of other settings.
 */
export function contradictionsWith(app: App, settings: AccountsSettings): SettingsIssue[] {
  const { baseUrl, mountPath, rememberSeconds } = accountsSchema.shape;
  const issues = [
    missingSecret(app),
    noDelivery(app),
    untrustedBaseUrl(
      app,
      valid(baseUrl, () => settings.baseUrl),
    ),
    cookieElsewhere(
      app,
      valid(mountPath, () => settings.mountPath),
    ),
    shortRemember(
      app,
      valid(rememberSeconds, () => settings.rememberSeconds),
    ),
  ];
  return issues.filter((issue) => issue !== undefined);
}

/** A setting with its default; `undefined` when it is wrong by itself, which the schema says. */
function valid<T>(schema: ZodType<T>, read: () => unknown): T | undefined {
  const result = checked(schema, read, []);
  return "data" in result ? result.data : undefined;
}

function missingSecret({ secretKey }: App): SettingsIssue | undefined {
  if (secretKey !== undefined) return undefined;
  return {
    code: "missing-setting",
    path: "secretKey",
    message: "Accounts encrypt and sign with keys derived from secretKey of applySecurity, which is not set.",
    remedy: `Set secretKey. ${GENERATE_SECRET}`,
  };
}

function noDelivery({ session, jwt }: App): SettingsIssue | undefined {
  if (session !== false || jwt !== false) return undefined;
  return {
    code: "contradiction",
    path: "session",
    message: "People log in, but neither sessions nor tokens are on.",
    remedy: "Turn one on: applySecurity(app, { session: {} }).",
  };
}

/**
 * The issue of a `baseUrl` whose host the app refuses: every link in a mail would lead to a refusal. Hosts that a function
 * decides about are known with a request only, so that they are not compared.
 */
function untrustedBaseUrl({ trustedHosts }: App, baseUrl: string | undefined): SettingsIssue | undefined {
  if (baseUrl === undefined || trustedHosts === undefined || trustedHosts === false) return undefined;
  if (typeof trustedHosts.hosts === "function") return undefined;
  const { host } = new URL(baseUrl);
  const authority = parseAuthority(host);
  if (authority !== undefined && new HostPatterns(trustedHosts.hosts).has(authority)) return undefined;
  return {
    code: "contradiction",
    path: "baseUrl",
    message: "trustedHosts of applySecurity does not list the host of baseUrl, so that the app refuses its own links.",
    remedy: `Add ${JSON.stringify(host)} to trustedHosts, or write an origin of one of its hosts.`,
  };
}

/** The issue of routes to which browsers do not send the session cookie (RFC 6265 section 5.1.4). */
function cookieElsewhere({ session }: App, mountPath: string | undefined): SettingsIssue | undefined {
  if (session === undefined || session === false || mountPath === undefined || session.path === "/") return undefined;
  const { path } = session;
  if (`${mountPath}/`.startsWith(`${path}/`)) return undefined;
  return {
    code: "contradiction",
    path: "mountPath",
    message: "Browsers do not send the session cookie to this path, because it is not below session.path.",
    remedy: `Mount the routes below it, as with mountPath: ${JSON.stringify(path + mountPath)}, or remove session.path.`,
  };
}

function shortRemember({ session }: App, rememberSeconds: number | undefined): SettingsIssue | undefined {
  if (session === undefined || session === false || rememberSeconds === undefined) return undefined;
  if (rememberSeconds >= session.maxAge) return undefined;
  return {
    code: "contradiction",
    path: "rememberSeconds",
    message: "A log-in with remember would end sooner than one without, which lasts for session.maxAge.",
    remedy: `Write rememberSeconds: ${session.maxAge} or more, or a shorter session.maxAge.`,
  };
}
