import type { AccountNotice } from "portcullis/accounts";
import { vi } from "vitest";
import type { AccountsApp } from "./app.js";

export const NEW_PASSWORD = "another fine long password";

/** The notices of a kind, once there are this many: they are sent after the answer. */
export async function noticesOf(
  app: AccountsApp,
  kind: AccountNotice["kind"],
  count: number,
): Promise<AccountNotice[]> {
  return vi.waitFor(() => {
    const found = app.notices.filter((notice) => notice.kind === kind);
    if (found.length < count) throw new Error(`${found.length} notices of ${kind}, not ${count}`);
    return found;
  });
}

/** The token of the link of a notice. */
export function tokenOf(notice: AccountNotice | undefined): string {
  return new URL(notice?.link ?? "").searchParams.get("token") ?? "";
}

/** Asks for a link to a new password, and returns its token. */
export async function resetToken(app: AccountsApp, login = "ada", count = 1): Promise<string> {
  await app.client().post("/account/password/forgot", { login });
  return tokenOf((await noticesOf(app, "password-reset", count)).at(-1));
}

/** Time for a notice that must not come. */
export function quiet(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 50));
}
