import express, { type Request, type Router } from "express";
import type { Accounts, TotpEnrolment } from "portcullis/accounts";
import { toString as qrCode } from "qrcode";
import { CODE, field, form } from "../fields.js";
import { html, Html } from "../html.js";
import { page } from "../layout.js";
import { outcomeOf, problemOf } from "../outcome.js";

const WRONG_CODE = { "invalid-credentials": "This code is not right. Enter the one that the app shows now." };

/** To set up an authenticator app: by whoever is logged in, and by a log-in that owes it. */
export function secondStepPages(accounts: Accounts): Router {
  const router = express.Router();

  router.get("/second-step", async (req, res) => {
    const isOwed = (await accounts.pendingLogIn(req))?.status === "enrolment-required";
    if (!isOwed && req.principal === undefined) return void res.redirect(303, "/login?error=log-in-ended");
    const begun = await accounts.factors.enrolment(req);
    const outcome = outcomeOf(req);
    const error = outcome.error === "invalid-credentials" ? WRONG_CODE["invalid-credentials"] : undefined;
    res.send(
      page({
        title: "Set up a second step",
        problem: problemOf(outcome, WRONG_CODE),
        isInside: !isOwed,
        content: html`${isOwed && html`<p>Your account must have a second step. Set it up to finish the log-in.</p>`}
        ${begun === undefined ? start : await confirmation(begun, error)}
        ${isOwed && form("/account/logout", "Cancel", undefined, "plain")}`,
      }),
    );
  });

  return router;
}

const start = html`<p>
    With a second step, your password alone does not open your account. You need an authenticator app.
  </p>
  ${form("/account/totp", "Show the key")}`;

async function confirmation({ secret, uri }: TotpEnrolment, error: string | undefined): Promise<Html> {
  const picture = new Html(await qrCode(uri, { type: "svg", errorCorrectionLevel: "M", margin: 4 }));
  return html`<h2>1. Add the key to your authenticator app</h2>
    <p>Scan this picture:</p>
    <div class="qr" role="img" aria-label="QR code of the key, which stands below as text">${picture}</div>
    <p>Or <a href="${uri}">open it in the app on this device</a>, or type the key:</p>
    <p><code class="key">${(secret.match(/.{1,4}/g) ?? []).join(" ")}</code></p>
    <h2>2. Enter the code that the app shows</h2>
    ${form("/account/totp/confirm", "Turn the second step on", [
      field({ label: "Code", name: "code", attributes: { ...CODE, inputmode: "numeric" }, hint: "Six digits.", error }),
    ])}`;
}

/** The recovery codes, in the answer to the form that made them: they are shown once. */
export function recoveryCodesPage(codes: readonly string[], _req: Request, next: string): string {
  return page({
    title: "Recovery codes",
    done: "These codes are the only ones that work now.",
    content: html`<p>
        Each of them opens your account once, with your password, when you do not have your authenticator app. Print
        them or write them down now: they are not shown again.
      </p>
      <ol class="codes">
        ${codes.map((code) => html`<li><code>${code}</code></li>`)}
      </ol>
      <p><a class="button" href="${next}">I have kept them</a></p>`,
  });
}
