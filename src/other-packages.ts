import type { Express } from "express";
import type { ResolvedSecuritySettings } from "./app-settings/schema.js";
import { type Mounted, mountedOn } from "./prepare-app.js";

/** A package whose work a setting does. */
interface OtherPackage {
  readonly name: string;
  /** The setting that replaces it. */
  readonly setting: "headers" | "cors" | "rateLimit" | "session";
  /** Recognises its middleware. */
  readonly is: (mounted: Mounted) => boolean;
  /** What it does when it is mounted before `applySecurity`. */
  readonly before: string;
  /** The headers that it overwrites when it is mounted after `applySecurity`. */
  readonly overwrites?: string;
}

const PACKAGES: readonly OtherPackage[] = [
  {
    name: "helmet",
    setting: "headers",
    is: ({ name }) => name === "helmetMiddleware",
    before: "sends headers of its own beside those of applySecurity",
    overwrites: "security headers",
  },
  {
    name: "cors",
    setting: "cors",
    is: ({ name }) => name === "corsMiddleware",
    before: "answers preflights by its own rules",
    overwrites: "CORS headers",
  },
  {
    name: "express-rate-limit",
    setting: "rateLimit",
    is: ({ handle }) => handle !== undefined && "resetKey" in handle && "getKey" in handle,
    before: "counts and refuses requests by its own rules",
  },
  {
    name: "express-session",
    setting: "session",
    is: ({ name }) => name === "session",
    before: "gives requests a session of its own",
  },
];

/** The other packages among what is mounted, but for those whose setting is off. */
function otherPackages(mounted: readonly Mounted[], settings: ResolvedSecuritySettings): OtherPackage[] {
  return PACKAGES.filter(({ setting, is }) => settings[setting] !== false && mounted.some(is));
}

/** Warns of other packages that are mounted before `applySecurity`. */
export function warnOfEarlierPackages(app: Express, settings: ResolvedSecuritySettings): void {
  for (const { name, before, setting } of otherPackages(mountedOn(app), settings)) {
    process.emitWarning(
      `The package ${name} is mounted before applySecurity and ${before}. Remove it, and use the setting ${setting}.`,
      { code: "PORTCULLIS_ORDER" },
    );
  }
}

/** The other packages that are mounted after `applySecurity` and overwrite headers, with a warning for each. */
export function laterPackages(
  app: Express,
  settings: ResolvedSecuritySettings,
): { readonly name: string; readonly warning: string }[] {
  const mounted = mountedOn(app);
  const later = mounted.slice(mounted.findIndex(({ name }) => name === "portcullis") + 1);
  return otherPackages(later, settings).flatMap(({ name, overwrites, setting }) =>
    overwrites === undefined
      ? []
      : [
          {
            name,
            warning: `The package ${name} is mounted after applySecurity and overwrites its ${overwrites}. Remove it, and use the setting ${setting}.`,
          },
        ],
  );
}
