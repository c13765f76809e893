import { once } from "node:events";
import { request } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, expect, test } from "vitest";
import { serve } from "../../support/serve.js";
import { accountsApp, type AccountsApp, type Client, person } from "../support/app.js";
import { Authenticator, enrol } from "../support/authenticator.js";

interface SlowRequest {
  /** Sends the body, and resolves with the status. */
  finish(body: object): Promise<number>;
}

/** A request whose head has been sent, and handled, and whose body has not. */
async function begin(app: AccountsApp, client: Client, path: string, more: Record<string, string>, method = "POST") {
  const cookie = [...client.cookies].map(([name, value]) => `${name}=${value}`).join("; ");
  const server = await serve(app.app);
  const { port } = server.server.address() as AddressInfo;
  const headers = { "content-type": "application/json", "transfer-encoding": "chunked", cookie, ...more };
  const sent = request({ host: "127.0.0.1", port, path, method, headers });
  sent.flushHeaders();
  sent.write("{");
  await new Promise((resolve) => setTimeout(resolve, 100));
  return {
    async finish(body) {
      const answered = once(sent, "response");
      sent.end(JSON.stringify(body).slice(1));
      const [answer] = (await answered) as [{ statusCode: number; resume(): void }];
      answer.resume();
      await server.close();
      return answer.statusCode;
    },
  } satisfies SlowRequest;
}

async function logIn(app: AccountsApp, deliver: "session" | "tokens") {
  const client = app.client();
  const { accessToken } = (await client.logIn("ada", undefined, { deliver })).json() as { accessToken?: string };
  const more: Record<string, string> = accessToken === undefined ? {} : { authorization: `Bearer ${accessToken}` };
  return { client, more };
}

describe("a request whose body comes after everything of the person was ended", () => {
  test.each(["session", "tokens"] as const)("begins no authenticator app (%s)", async (deliver) => {
    const app = await accountsApp();
    await person(app);
    const { client, more } = await logIn(app, deliver);
    const late = await begin(app, client, "/account/totp", more);
    const inTime = await begin(app, client, "/account/totp", more);
    expect(await inTime.finish({})).toBe(200);
    await app.security.revokeAll("id-ada");
    expect(await late.finish({})).toBe(401);
  });

  test("confirms no authenticator app", async () => {
    const app = await accountsApp();
    await person(app);
    const { client, more } = await logIn(app, "session");
    const { secret } = (await client.post("/account/totp", {})).json() as { secret: string };
    const late = await begin(app, client, "/account/totp/confirm", more);
    await app.security.revokeAll("id-ada");
    expect(await late.finish({ code: new Authenticator(secret).code(app.clock.now()) })).toBe(401);
    expect(await app.accounts.factors.list("id-ada")).toEqual([]);
  });

  test.each([
    ["makes no recovery codes", "POST", "/account/recovery-codes"],
    ["removes no factor", "DELETE", "/account/factors/:id"],
  ])("%s", async (_what, method, path) => {
    const app = await accountsApp();
    await person(app);
    const { client, more } = await logIn(app, "session");
    const { recoveryCodes } = await enrol(app, client);
    const [factor] = await app.accounts.factors.list("id-ada");
    const late = await begin(app, client, path.replace(":id", factor?.id ?? ""), more, method);
    await app.security.revokeAll("id-ada");
    expect(await late.finish({})).toBe(401);
    const owner = app.client();
    await owner.logIn();
    const code = { method: "recovery", code: recoveryCodes[0] };
    expect((await owner.post("/account/login/factor", code)).status).toBe(200);
  });
});
