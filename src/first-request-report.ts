import type { Express } from "express";
import type { ResolvedSecuritySettings } from "./app-settings/schema.js";
import type { Runtime } from "./core/runtime.js";
import { watchRoutingSettings, watchTrustProxy } from "./late-settings.js";
import { OWN_TRUST_PROXY } from "./prepare-app.js";
import { laterPackages } from "./other-packages.js";

/** On its first call, when everything is mounted, reports what the app did after `applySecurity` and should not. */
export function firstRequestReport(app: Express, runtime: Runtime, settings: ResolvedSecuritySettings): () => void {
  const lateSettings = watchRoutingSettings(app);
  const setsTrustProxy = watchTrustProxy(app);
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
    if (setsTrustProxy()) report("PORTCULLIS_TRUST_PROXY", "late-trust-proxy", OWN_TRUST_PROXY);
    for (const { name, warning } of laterPackages(app, settings))
      report("PORTCULLIS_OVERWRITTEN", `${name}-mounted`, warning);
  };
}
