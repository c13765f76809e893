import type { Router } from "express";
import express from "express";
import type { Security } from "portcullis";
import type { Accounts } from "portcullis/accounts";
import { toString as qrCode } from "qrcode";
import { field, html, Html, page, STYLE } from "./html.js";
import { problemText } from "./texts.js";

const DATE = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "short" });

const EMAIL = { type: "email", autocomplete: "username" };
const PASSWORD = { type: "password", autocomplete: "current-password" };
const NEW_PASSWORD = { type: "password", autocomplete: "new-password", minlength: "15" };
const CODE = { type: "text", autocomplete: "one-time-code", autocapitalize: "none", spellcheck: "false" };
const LONG = "15 characters or more. A few words that you can remember are best.";

/** The pages of the app. Their forms go to the routes of accounts, which send the browser on. They need no script. */
export function pages(security: Security, accounts: Accounts): Router {
  const router = express.Router();
  const loggedIn = security.requireSession({ redirectTo: "/login" });

  router.use((_req, res, next) => {
    res.setHeader("Cache-Control", "no-store");
    next();
  });
  router.get("/style.css", (_req, res) => void res.type("css").set("Cache-Control", "max-age=300").send(STYLE));

  router.get("/login", (req, res) => {
    res.send(
      page(
        "Log in",
        html`${problem(req.query.error)}
          <form method="post" action="/account/login">
            ${field("E-mail address", "login", EMAIL)} ${field("Password", "password", PASSWORD)}
            <p>
              <label class="tick"><input type="checkbox" name="remember" /> Stay logged in on this device</label>
            </p>
            <p><button class="main">Log in</button></p>
          </form>
          <p><a href="/forgot">Forgot your password?</a> <a href="/register">Make an account</a></p>`,
      ),
    );
  });

  router.get("/login/factor", async (req, res) => {
    const pending = await accounts.pendingLogIn(req);
    if (pending?.status !== "factor-required") return void res.redirect(303, "/login");
    const byCode = (method: string, label: string, hint: string): Html =>
      html`<form method="post" action="/account/login/factor">
        <input type="hidden" name="method" value="${method}" />
        ${field(label, "code", CODE, hint)}
        <p><button class="main">Go on</button></p>
      </form>`;
    res.send(
      page(
        "Second step",
        html`${problem(req.query.error)} ${byCode("totp", "Code", "Six digits from your authenticator app.")}
        ${
          pending.factors.includes("recovery")
            ? html`<details>
                <summary>Use a recovery code</summary>
                <form method="post" action="/account/login/factor">
                  <input type="hidden" name="method" value="recovery" />
                  <p>
                    <label for="recovery">Recovery code</label>
                    <input id="recovery" name="code" required autocomplete="off" />
                  </p>
                  <p><button>Use this code</button></p>
                </form>
              </details>`
            : undefined
        }
        ${logOutForm("Cancel")}`,
      ),
    );
  });

  router.get("/login/enrol", async (req, res) => {
    const pending = await accounts.pendingLogIn(req);
    if (pending?.status !== "enrolment-required") return void res.redirect(303, "/login");
    res.send(
      page(
        "Set up a second step",
        html`${problem(req.query.error)}
          <p>Your account needs a second step.</p>
          ${await enrolment(req)}${logOutForm("Cancel")}`,
      ),
    );
  });

  router.get("/register", (req, res) => {
    res.send(
      page(
        "Make an account",
        html`${problem(req.query.error)}${done(req.query.sent, "If the address is right, you have mail now. Open its link in this browser.")}
          <form method="post" action="/account/register">
            ${field("E-mail address", "login", EMAIL)} ${field("Password", "password", NEW_PASSWORD, LONG)}
            <p><button class="main">Make an account</button></p>
          </form>
          <p><a href="/login">Log in</a></p>`,
      ),
    );
  });

  router.get("/verify-email", (req, res) => {
    res.send(
      page(
        "Confirm your address",
        html`${problem(req.query.error)}
          <form method="post" action="/account/email/verify">
            <input type="hidden" name="token" value="${text(req.query.token)}" />
            <p><button class="main">Confirm</button></p>
          </form>
          <details>
            <summary>You registered in another browser?</summary>
            <form method="post" action="/account/email/verify">
              <input type="hidden" name="token" value="${text(req.query.token)}" />
              ${field("The password that you chose", "password", PASSWORD)}
              <p><button>Confirm with the password</button></p>
            </form>
          </details>`,
      ),
    );
  });

  router.get("/forgot", (req, res) => {
    res.send(
      page(
        "Forgot your password?",
        html`${problem(req.query.error)}${done(req.query.sent, "If there is an account, you have mail now. Its link works for 20 minutes.")}
          <form method="post" action="/account/password/forgot">
            ${field("E-mail address", "login", EMAIL)}
            <p><button class="main">Send a link</button></p>
          </form>
          <p><a href="/login">Log in</a></p>`,
      ),
    );
  });

  router.get("/reset-password", (req, res) => {
    res.send(
      page(
        "Choose a new password",
        html`${problem(req.query.error)}
          <form method="post" action="/account/password/reset">
            <input type="hidden" name="token" value="${text(req.query.token)}" />
            ${field("New password", "password", NEW_PASSWORD, LONG)}
            <p><button class="main">Set the password</button></p>
          </form>
          <p>You are logged out on every other device.</p>`,
      ),
    );
  });

  router.get("/confirm", loggedIn, (req, res) => {
    const hasCodes = req.principal?.methods.some(({ method }) => method !== "pwd") === true;
    res.send(
      page(
        "Is it you?",
        html`${problem(req.query.error)}
          <p>Confirm that it is you, and then go on.</p>
          <form method="post" action="/account/reauthenticate">
            ${field("Password", "password", PASSWORD)}
            <p><button class="main">Confirm</button></p>
          </form>
          ${
            hasCodes
              ? html`<form method="post" action="/account/reauthenticate">
                  <input type="hidden" name="method" value="totp" />
                  ${field("Or a code of your authenticator app", "code", CODE)}
                  <p><button>Confirm by code</button></p>
                </form>`
              : undefined
          }
          <p><a href="/">Back to your account</a></p>`,
      ),
    );
  });

  router.get("/", loggedIn, async (req, res) => {
    const { principal } = req;
    const id = principal?.id ?? "";
    const [apps, codes, sessions] = await Promise.all([
      accounts.factors.list(id),
      accounts.factors.recoveryCodesLeft(id),
      security.sessions?.list(id) ?? [],
    ]);
    res.send(
      page(
        "Your account",
        html`${problem(req.query.error)}
          <h2>Second step</h2>
          ${
            apps.length === 0
              ? html`<p>Your password alone opens this account.</p>
                  ${await enrolment(req)}`
              : html`<ul class="cards">
                    ${apps.map(
                      (factor) =>
                        html`<li>
                          Authenticator app, since ${DATE.format(factor.createdAt)}
                          <form method="post" action="/account/factors/${factor.id}/remove">
                            <button>Remove</button>
                          </form>
                        </li>`,
                    )}
                  </ul>
                  <p>${codes} recovery codes are left.</p>
                  <form method="post" action="/account/recovery-codes"><button>Make new recovery codes</button></form>`
          }
          <h2>Password</h2>
          <form method="post" action="/account/password">
            <input type="text" name="username" autocomplete="username" value="" hidden disabled />
            ${field("Your password now", "current", PASSWORD)} ${field("New password", "password", NEW_PASSWORD, LONG)}
            <p><button>Change the password</button></p>
          </form>
          <h2>Devices</h2>
          <ul class="cards">
            ${sessions.map(
              ({ handle, label, createdAt }) =>
                html`<li>
                  ${label ?? "A device"}, since ${DATE.format(createdAt)}
                  ${
                    handle === principal?.credentialId
                      ? html`<strong>this one</strong>`
                      : html`<form method="post" action="/devices/${handle}/end"><button>Log out there</button></form>`
                  }
                </li>`,
            )}
          </ul>
          ${logOutForm("Log out")}`,
      ),
    );
  });

  router.post("/devices/:handle/end", security.requireSession(), async (req, res) => {
    await security.sessions?.end(req.principal?.id ?? "", String(req.params.handle));
    res.redirect(303, "/");
  });

  /** The first half asks for a secret; the second shows it and asks for a code. */
  async function enrolment(req: express.Request): Promise<Html> {
    const begun = await accounts.factors.enrolment(req);
    if (begun === undefined)
      return html`<form method="post" action="/account/totp">
        <p><button class="main">Set up an authenticator app</button></p>
      </form>`;
    const picture = new Html(await qrCode(begun.uri, { type: "svg", errorCorrectionLevel: "M" }));
    return html`<p>Scan this with an authenticator app, or type the key into it. Then enter the code that it shows.</p>
      <div class="qr" role="img" aria-label="QR code with the key below">${picture}</div>
      <p>Key: <code>${begun.secret}</code></p>
      <form method="post" action="/account/totp/confirm">
        ${field("Code", "code", { ...CODE, inputmode: "numeric" }, "Six digits from the app.")}
        <p><button class="main">Turn the second step on</button></p>
      </form>`;
  }

  return router;
}

/** The recovery codes, in the answer to the form that made them: they are shown once. */
export function recoveryCodesPage(codes: readonly string[]): string {
  return page(
    "Recovery codes",
    html`<p>
        Each of these codes opens your account once, with your password, when you do not have your authenticator app.
        Print them or write them down now: they are not shown again.
      </p>
      <ol class="codes">
        ${codes.map((code) => html`<li>${code}</li>`)}
      </ol>
      <p><a href="/">I have kept them</a></p>`,
  );
}

function logOutForm(label: string): Html {
  return html`<form method="post" action="/account/logout">
    <p><button>${label}</button></p>
  </form>`;
}

function problem(code: unknown): Html | undefined {
  const words = problemText(code);
  if (words === undefined) return undefined;
  const link = code === "reauthentication-required" ? html` <a href="/confirm">Confirm</a>` : undefined;
  return html`<p class="problem" role="alert">${words}${link}</p>`;
}

function done(flag: unknown, words: string): Html | undefined {
  return flag === undefined ? undefined : html`<p class="done" role="status">${words}</p>`;
}

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}
