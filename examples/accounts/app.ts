import express, { type Express } from "express";
import { applySecurity, type Security } from "portcullis";
import { createAccounts, type Accounts, type AccountNotice } from "portcullis/accounts";
import { pages, recoveryCodesPage } from "./pages.js";
import { UserTable } from "./users.js";

/** What the example is made of. */
export interface AccountsExample {
  readonly app: Express;
  readonly security: Security;
  readonly accounts: Accounts;
  close(): Promise<void>;
}

/**
 * An app in which people register, log in and look after their account.
 *
 * @param file where SQLite keeps everything
 * @param sendMail what would send mail
 */
export function createExample(
  file: string,
  secretKey: string,
  origin: string,
  sendMail: (notice: AccountNotice) => void,
): AccountsExample {
  const app = express();
  const users = new UserTable(file);
  const security = applySecurity(app, {
    debug: true, // plain http on localhost
    trustedHosts: ["localhost"],
    secretKey,
    session: {},
    database: `sqlite:${file}`,
  });
  const accounts = createAccounts(security, {
    baseUrl: origin,
    users: {
      findByLogin: (login) => users.findByLogin(login),
      findById: (id) => users.findById(id),
      create: (account) => users.create(account),
    },
    notify: sendMail,
    factors: { totp: { issuer: "Accounts example" } },
    pages: { account: "/" },
    afterLogout: "/login",
    showRecoveryCodes: recoveryCodesPage,
  });
  app.use("/account", accounts.routes());
  app.use(pages(security, accounts));
  return {
    app,
    security,
    accounts,
    close: async () => {
      await security.close();
      users.close();
    },
  };
}
