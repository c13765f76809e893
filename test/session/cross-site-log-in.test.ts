import { afterEach, describe, expect, it, vi } from "vitest";
import { applySecurity, type SecuritySettings } from "portcullis";
import { EXPRESS } from "../support/express-versions.js";
import { serve } from "../support/serve.js";

const SECRET = "kJ8#vQ2!mZ7@xW4$nR9%tY6^bH3&cL5*";
const ORIGIN = "http://localhost:5173";

describe.each(EXPRESS)("a log-in by a page of another site, on $name", ({ express }) => {
  const closing: (() => Promise<void>)[] = [];
  afterEach(async () => {
    vi.restoreAllMocks();
    for (const close of closing.splice(0)) await close();
  });

  /** Warnings and events of two log-ins with these fields. */
  async function report(headers: Record<string, string>, settings: SecuritySettings = {}) {
    const warned = vi.spyOn(process, "emitWarning").mockImplementation(() => undefined);
    const app = express();
    const cors = { origins: [ORIGIN], credentials: true };
    const security = applySecurity(app, { debug: true, secretKey: SECRET, session: {}, cors, ...settings });
    const reasons: unknown[] = [];
    security.events.on("portcullis_misconfigured", ({ reason }) => void reasons.push(reason));
    app.post(
      "/in",
      security.handler(async (req, res) => {
        await security.logIn(req, { id: "ada" });
        res.sendStatus(204);
      }),
    );
    const server = await serve(app);
    closing.push(server.close, () => security.close());
    for (let count = 0; count < 2; count += 1)
      expect((await server.send("/in", { method: "POST", headers: { Origin: ORIGIN, ...headers } })).status).toBe(204);
    const warnings = warned.mock.calls.filter(([, options]) => JSON.stringify(options).includes("CROSS_SITE"));
    return { warnings: warnings.map(([message]) => String(message)), reasons };
  }
  const fields = { "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors" };
  const quiet = { warnings: [], reasons: [] };

  it("is reported once in debug, with what to do", async () => {
    expect(await report(fields)).toEqual({
      warnings: [expect.stringContaining("localhost and 127.0.0.1 are different sites: use one name")],
      reasons: ["cross-site-log-in"],
    });
  });

  it("is not reported for a page of the same site, for a form, or for a program", async () => {
    expect(await report({ ...fields, "Sec-Fetch-Site": "same-site" })).toEqual(quiet);
    expect(await report({ ...fields, "Sec-Fetch-Mode": "navigate" })).toEqual(quiet);
    expect(await report({})).toEqual(quiet);
  });

  it("is not reported without debug", async () => {
    expect(await report(fields, { debug: false, trustedHosts: ["127.0.0.1"] })).toEqual(quiet);
  });
});
