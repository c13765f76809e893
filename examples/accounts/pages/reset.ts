import express, { type Router } from "express";
import { EMAIL, field, form, hidden, NEW_PASSWORD, NEW_PASSWORD_HINT } from "../fields.js";
import { html } from "../html.js";
import { page } from "../layout.js";
import { outcomeOf, parameter, PASSWORD_REFUSED, passwordProblem, problemOf } from "../outcome.js";

const IN_USE = { conflict: "You have sent this form already. Log in with the new password." };

/** To choose a new password by the link of a mail. */
export function resetPages(): Router {
  const router = express.Router();

  router.get("/forgot", (req, res) => {
    const outcome = outcomeOf(req);
    const isSent = outcome.status === "accepted";
    res.send(
      page({
        title: "Forgot your password?",
        problem: problemOf(outcome),
        done: isSent
          ? "If this address has an account, it has mail now. The link in it works for 20 minutes."
          : undefined,
        content: html`${
            !isSent &&
            form("/account/password/forgot", "Send a link", [
              field({ label: "E-mail address", name: "login", attributes: EMAIL }),
            ])
          }
          <p><a href="/login">Back to log in</a></p>`,
      }),
    );
  });

  // The token is spent by the form, not by this page.
  router.get("/reset-password", (req, res) => {
    const outcome = outcomeOf(req);
    const isEnded = outcome.error === "invalid-credentials" || outcome.error === "invalid-request";
    const error = passwordProblem(outcome);
    res.send(
      page({
        title: "Choose a new password",
        problem: isEnded
          ? "This link was used or has ended. If you have used it just now, log in with the new password."
          : problemOf(outcome, { ...PASSWORD_REFUSED, ...IN_USE }),
        content: isEnded
          ? html`<p><a href="/login">Log in</a></p>
              <p><a href="/forgot">Ask for a new link</a></p>`
          : html`<p>This logs you out on every device.</p>
              ${form("/account/password/reset", "Set the password", [
                hidden("token", parameter(req, "token")),
                field({
                  label: "New password",
                  name: "password",
                  attributes: NEW_PASSWORD,
                  hint: NEW_PASSWORD_HINT,
                  error,
                }),
              ])}`,
      }),
    );
  });

  return router;
}
