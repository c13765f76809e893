import type { ResolvedSecuritySettings } from "./schema.js";

/** Warns once about settings that are of use for a while, and dangerous for as long as they stay. */
export function warnOfSettings({ session, csrf }: ResolvedSecuritySettings): void {
  if (!session || session.sameSite !== "none" || !csrf || csrf.mode !== "report") return;
  process.emitWarning(
    'Browsers send SameSite=None session cookies with cross-site requests, and csrf only reports them, so none is refused. Remove csrf.mode once the events show no request of your own, or set session.sameSite to "lax".',
    { code: "PORTCULLIS_CSRF" },
  );
}
