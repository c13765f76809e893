import express, { type Router } from "express";
import type { Accounts } from "portcullis/accounts";
import { EMAIL, field, form, PASSWORD, wanted } from "../fields.js";
import { html } from "../html.js";
import { page } from "../layout.js";
import { codeFields } from "./code.js";
import { doneOf, outcomeOf, problemOf } from "../outcome.js";

const WRONG = { "invalid-credentials": "The address or the password is not right." };
/** What was done by a form that could not log in too. */
const DONE = {
  "password-changed": "Your password is changed. Log in with the new one.",
  registered: "Your account is made. Log in with your password.",
};
const WRONG_CODE = { "invalid-credentials": "This code is not right, or it was used before." };

/** To log in: with a password, and then with a second step. */
export function logInPages(accounts: Accounts): Router {
  const router = express.Router();

  router.get("/login", (req, res) => {
    const outcome = outcomeOf(req);
    const error = outcome.error === "invalid-credentials" ? "Check the address and the password." : undefined;
    res.send(
      page({
        title: "Log in",
        problem: problemOf(outcome, WRONG),
        done: doneOf(outcome, DONE),
        content: html`${form("/account/login", "Log in", [
            field({ label: "E-mail address", name: "login", attributes: EMAIL, error }),
            field({ label: "Password", name: "password", attributes: PASSWORD }),
            wanted(req),
            html`<p class="tick">
              <input type="checkbox" id="remember" name="remember" />
              <label for="remember">Stay logged in on this device</label>
            </p>`,
          ])}
          <p><a href="/forgot">Forgot your password?</a></p>
          <p>New here? <a href="/register">Make an account</a></p>`,
      }),
    );
  });

  router.get("/login/code", async (req, res) => {
    const pending = await accounts.pendingLogIn(req);
    if (pending?.status !== "factor-required") return void res.redirect(303, "/login?error=log-in-ended");
    const outcome = outcomeOf(req);
    const error = outcome.error === "invalid-credentials" ? WRONG_CODE["invalid-credentials"] : undefined;
    res.send(
      page({
        title: "Second step",
        problem: problemOf(outcome, WRONG_CODE),
        content: html`${form("/account/login/factor", "Go on", [
          codeFields(pending.factors.includes("recovery"), error),
        ])}
        ${form("/account/logout", "Cancel", undefined, "plain")}`,
      }),
    );
  });

  return router;
}
