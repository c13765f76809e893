import { counterCode, stepAt } from "../../../src/accounts/factors/one-time-code.js";
import type { AccountsApp, Client } from "./app.js";

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/** An authenticator app: knows a secret, and the code of a moment. */
export class Authenticator {
  readonly #secret: Buffer;

  constructor(secret: string) {
    const bits = [...secret].map((char) => ALPHABET.indexOf(char).toString(2).padStart(5, "0")).join("");
    this.#secret = Buffer.from((bits.match(/.{8}/g) ?? []).map((byte) => Number.parseInt(byte, 2)));
  }

  code(now: number, steps = 0): string {
    return counterCode(this.#secret, stepAt(now) + steps);
  }

  /** A code that is right at none of the steps that count. */
  wrong(now: number): string {
    const right = [-1, 0, 1].map((steps) => this.code(now, steps));
    return ["000000", "000001", "000002", "000003"].find((code) => !right.includes(code)) ?? "";
  }
}

/** Sets up an authenticator app for whoever the client is logged in as, and goes on by a step so that a code is new. */
export async function enrol(
  app: AccountsApp,
  client: Client,
): Promise<{ readonly authenticator: Authenticator; readonly recoveryCodes: readonly string[] }> {
  const begun = (await client.post("/account/totp", {})).json() as { secret: string };
  const authenticator = new Authenticator(begun.secret);
  const confirmed = await client.post("/account/totp/confirm", { code: authenticator.code(app.clock.now()) });
  if (confirmed.status !== 200) throw new Error(`Not confirmed: ${confirmed.text}`);
  app.clock.advance(30_000);
  return { authenticator, recoveryCodes: (confirmed.json() as { recoveryCodes: string[] }).recoveryCodes };
}
