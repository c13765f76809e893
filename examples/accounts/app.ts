import { fileURLToPath } from "node:url";
import express, { type Express } from "express";
import { applySecurity, type Security, type SecurityDependencies } from "portcullis";
import { createAccounts, type AccountNotice } from "portcullis/accounts";
import { accountPages } from "./pages/account.js";
import { devicePages } from "./pages/devices.js";
import { logInPages } from "./pages/log-in.js";
import { registerPages } from "./pages/register.js";
import { resetPages } from "./pages/reset.js";
import { recoveryCodesPage, secondStepPages } from "./pages/second-step.js";
import { UserTable } from "./users.js";

/** What the example is made of. */
export interface AccountsExample {
  readonly app: Express;
  readonly security: Security;
  close(): Promise<void>;
}

/** What the example is started with. */
export interface AccountsExampleOptions {
  /** Where SQLite keeps everything. */
  readonly file: string;
  readonly secretKey: string;
  /** As browsers see it. */
  readonly origin: string;
  /** What would send mail. */
  readonly sendMail: (notice: AccountNotice) => void;
  /** How long a request waits for the database, in milliseconds (default: 250). */
  readonly storeTimeoutMs?: number;
}

/**
 * An app in which people register, log in and look after their account. Every page works without JavaScript.
 *
 * @param dependencies what tests replace
 */
export function createExample(
  { file, secretKey, origin, sendMail, storeTimeoutMs = 250 }: AccountsExampleOptions,
  dependencies: SecurityDependencies = {},
): AccountsExample {
  const app = express();
  const users = new UserTable(file);
  const security = applySecurity(
    app,
    {
      debug: true, // plain http on localhost
      trustedHosts: ["localhost"],
      secretKey,
      session: { storeTimeoutMs },
      rateLimit: { limit: 300 }, // a click makes up to three requests: the form, the page, its style
      database: `sqlite:${file}`,
    },
    dependencies,
  );
  const accounts = createAccounts(security, {
    baseUrl: origin,
    users: {
      findByLogin: (login) => users.findByLogin(login),
      findById: (id) => users.findById(id),
      create: (account) => users.create(account),
    },
    notify: sendMail,
    factors: {
      totp: { issuer: "Accounts example" },
      required: ({ login }) => login.endsWith("@staff.example"),
    },
    pages: {
      register: "/register",
      forgotPassword: "/forgot",
      factor: "/login/code",
      enrol: "/second-step",
      reauthenticate: "/confirm",
    },
    afterLogout: "/login",
    storeTimeoutMs,
    showRecoveryCodes: recoveryCodesPage,
  });
  const style = new URL("style.css", import.meta.url);
  app.get("/style.css", (_req, res) => void res.sendFile(fileURLToPath(style), { maxAge: "5 min" }));
  app.use((_req, res, next) => {
    res.setHeader("Cache-Control", "no-store"); // the pages are a person's own
    next();
  });
  app.use("/account", accounts.routes());
  app.use(registerPages(), logInPages(accounts), resetPages(), secondStepPages(accounts));
  app.use(accountPages(security, accounts, users), devicePages(security, security.sessions));
  return {
    app,
    security,
    close: async () => {
      await security.close();
      users.close();
    },
  };
}
