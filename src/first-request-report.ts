import type { Express } from "express";
import type { ResolvedSecuritySettings } from "./app-settings/schema.js";
import type { Runtime } from "./core/runtime.js";
import { watchRoutingSettings } from "./late-settings.js";
import { mountedNames } from "./prepare-app.js";

/** Packages whose middleware overwrites the headers of a layer, with the name of its function. */
const OVERWRITING = [
  { function: "helmetMiddleware", package: "helmet", headers: "security headers", setting: "headers" },
  { function: "corsMiddleware", package: "cors", headers: "CORS headers", setting: "cors" },
] as const;

/** On its first call, when everything is mounted, reports what the app did after `applySecurity` and should not. */
export function firstRequestReport(app: Express, runtime: Runtime, settings: ResolvedSecuritySettings): () => void {
  const lateSettings = watchRoutingSettings(app);
  let isFirst = true;
  const report = (code: string, reason: string, message: string): void => {
    process.emitWarning(message, { code });
    runtime.events.emit("portcullis_misconfigured", () => ({ source: "pipeline", reason }));
  };
  return () => {
    if (!isFirst) return;
    isFirst = false;
    const names = lateSettings();
    if (names.length > 0)
      report(
        "PORTCULLIS_ROUTING",
        "late-routing-setting",
        `Express ignores ${names.map((name) => `"${name}"`).join(", ")} when set after applySecurity. Call app.set before applySecurity.`,
      );
    const mounted = mountedNames(app);
    const later = mounted.slice(mounted.indexOf("portcullis") + 1);
    for (const other of OVERWRITING) {
      if (settings[other.setting] === false || !later.includes(other.function)) continue;
      report(
        "PORTCULLIS_OVERWRITTEN",
        `${other.package}-mounted`,
        `The package ${other.package} is mounted after applySecurity and overwrites its ${other.headers}. Remove it, and use the setting ${other.setting}.`,
      );
    }
  };
}
