import express, { type Router } from "express";
import { EMAIL, field, form, hidden, NEW_PASSWORD, NEW_PASSWORD_HINT, PASSWORD } from "../fields.js";
import { html } from "../html.js";
import { page } from "../layout.js";
import { outcomeOf, parameter, PASSWORD_REFUSED, passwordProblem, problemOf } from "../outcome.js";

const ADDRESS_PROBLEM = { "invalid-request": "This is not a mail address, or the password is too long." };
const LINK_PROBLEMS = {
  "missing-credentials": "You registered in another browser. Enter the password that you chose there.",
  "invalid-credentials": "The link was used or has ended, or this is not the password that you chose.",
  conflict: "The link was used already. Log in.",
};

/** To make an account, and to confirm it by the link of the mail. */
export function registerPages(): Router {
  const router = express.Router();

  router.get("/register", (req, res) => {
    const outcome = outcomeOf(req);
    const isSent = outcome.status === "accepted";
    res.send(
      page({
        title: "Make an account",
        problem: problemOf(outcome, { ...PASSWORD_REFUSED, ...ADDRESS_PROBLEM }),
        done: isSent
          ? "You have mail. Open its link in this browser. (The example prints mail in its terminal.)"
          : undefined,
        content: html`${!isSent && registration(passwordProblem(outcome))}
          <p>You have an account? <a href="/login">Log in</a></p>`,
      }),
    );
  });

  // The token is spent by the form, not by this page: programs that look at mail open its links.
  router.get("/verify-email", (req, res) => {
    const outcome = outcomeOf(req);
    const asksPassword = outcome.error === "missing-credentials" || outcome.error === "invalid-credentials";
    res.send(
      page({
        title: "Confirm your address",
        problem: problemOf(outcome, LINK_PROBLEMS),
        content: html`<p>Your account is made when you confirm.</p>
          ${form("/account/email/verify", "Confirm", [
            hidden("token", parameter(req, "token")),
            ...(asksPassword ? [field({ label: "Password", name: "password", attributes: PASSWORD })] : []),
          ])}
          <p>The link does not work? <a href="/register">Make the account again</a></p>`,
      }),
    );
  });

  return router;
}

function registration(error: string | undefined): ReturnType<typeof form> {
  const password = { name: "password", attributes: NEW_PASSWORD, hint: NEW_PASSWORD_HINT, error };
  return form("/account/register", "Make an account", [
    field({
      label: "E-mail address",
      name: "login",
      attributes: EMAIL,
      hint: "Nobody is sent anything: mail is printed in the terminal. An address of staff.example needs a second step.",
    }),
    field({ label: "Password", ...password }),
  ]);
}
