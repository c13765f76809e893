import express, { type Router } from "express";
import type { Security } from "portcullis";
import type { Accounts, FactorInfo } from "portcullis/accounts";
import { field, form, NEW_PASSWORD, NEW_PASSWORD_HINT, PASSWORD, wanted, whose } from "../fields.js";
import { html, type Html } from "../html.js";
import { page } from "../layout.js";
import { codeFields } from "./code.js";
import { doneOf, type Outcome, outcomeOf, PASSWORD_REFUSED, passwordProblem, problemOf } from "../outcome.js";
import type { UserTable } from "../users.js";

const DATE = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "short" });
/** From so many codes on, the page warns. */
const FEW_CODES = 3;
const WRONG_PASSWORD = { "invalid-credentials": "Your password is not right, so it was not changed." };
const WRONG_PROOF = { "invalid-credentials": "That is not right. Try again." };
const DONE = {
  "password-changed": "Your password is changed, and you are logged out on all other devices.",
  "factor-removed": "The second step is removed, and you are logged out on all other devices.",
  confirmed: "It is you. You can change your account now.",
};

/** What people see and change when they are logged in. */
export function accountPages(security: Security, accounts: Accounts, users: UserTable): Router {
  const router = express.Router();
  const loggedIn = security.requireSession({ redirectTo: "/login" });

  router.get("/", loggedIn, async (req, res) => {
    const id = req.principal?.id ?? "";
    const [factors, codesLeft] = await Promise.all([accounts.factors.list(id), accounts.factors.recoveryCodesLeft(id)]);
    const email = users.findById(id)?.login ?? "";
    const outcome = outcomeOf(req);
    res.send(
      page({
        title: "Your account",
        problem: problemOf(outcome, { ...PASSWORD_REFUSED, ...WRONG_PASSWORD }),
        done: doneOf(outcome, DONE),
        isInside: true,
        content: html`<p>You are logged in as <strong>${email}</strong>.</p>
          <h2>Second step</h2>
          ${factors.length === 0 ? noFactor : secondStep(factors, codesLeft)}
          <h2>Password</h2>
          ${passwordForm(email, outcome)}`,
      }),
    );
  });

  router.get("/confirm", loggedIn, async (req, res) => {
    const id = req.principal?.id ?? "";
    const [factors, codesLeft] = await Promise.all([accounts.factors.list(id), accounts.factors.recoveryCodesLeft(id)]);
    const outcome = outcomeOf(req);
    const isDue = outcome.error === "reauthentication-required";
    const error = outcome.error === "invalid-credentials" ? WRONG_PROOF["invalid-credentials"] : undefined;
    res.send(
      page({
        title: "Show that it is you",
        // That a proof is due is no mistake.
        problem: isDue ? undefined : problemOf(outcome, WRONG_PROOF),
        isInside: true,
        content: html`<p>${isDue && "You logged in a while ago. "}Confirm that it is you, and then make your change.</p>
          ${form("/account/reauthenticate", "Confirm", [
            wanted(req),
            ...(factors.length > 0
              ? [codeFields(codesLeft > 0, error)]
              : [
                  whose(users.findById(id)?.login ?? ""),
                  field({ label: "Password", name: "password", attributes: PASSWORD, error }),
                ]),
          ])}
          <p><a href="/">Back to your account</a></p>`,
      }),
    );
  });

  return router;
}

const noFactor = html`<p>Your password alone opens this account.</p>
  <p><a class="button" href="/second-step">Set up a second step</a></p>`;

function secondStep(factors: readonly FactorInfo[], codesLeft: number): Html {
  return html`<ul class="cards">
      ${factors.map(
        ({ id, createdAt }) =>
          html`<li>
            <p>Authenticator app, since ${DATE.format(createdAt)}</p>
            ${form(`/account/factors/${id}/remove`, "Remove the authenticator app", undefined, "plain")}
          </li>`,
      )}
    </ul>
    <p>${codesLeft} recovery codes are left.${codesLeft <= FEW_CODES && html` <strong>Make new ones.</strong>`}</p>
    ${form("/account/recovery-codes", "Make new recovery codes", undefined, "plain")}`;
}

function passwordForm(email: string, outcome: Outcome): Html {
  const isWrong = outcome.error === "invalid-credentials";
  return form("/account/password", "Change the password", [
    whose(email),
    field({
      label: "Your password now",
      name: "current",
      attributes: PASSWORD,
      error: isWrong ? "This is not your password." : undefined,
    }),
    field({
      label: "New password",
      name: "password",
      attributes: NEW_PASSWORD,
      hint: NEW_PASSWORD_HINT,
      error: passwordProblem(outcome),
    }),
  ]);
}
