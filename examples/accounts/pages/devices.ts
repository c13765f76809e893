import express, { type Router } from "express";
import type { Security, SessionDirectory } from "portcullis";
import { form } from "../fields.js";
import { html } from "../html.js";
import { page } from "../layout.js";
import { outcomeOf } from "../outcome.js";

const DATE = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "short" });

/** Where a person is logged in, and to log out there. */
export function devicePages(security: Security, directory: SessionDirectory): Router {
  const router = express.Router();

  router.get("/devices", security.requireSession({ redirectTo: "/login" }), async (req, res) => {
    const { id = "", credentialId } = req.principal ?? {};
    const sessions = (await directory.list(id)).toSorted((a, b) => b.createdAt - a.createdAt);
    res.send(
      page({
        title: "Devices",
        done: outcomeOf(req).status === "ended" ? "You are logged out there." : undefined,
        isInside: true,
        content: html`<p>Here you are logged in:</p>
          <ul class="cards">
            ${sessions.map(({ handle, label = "A device", createdAt }) => {
              const since = DATE.format(createdAt);
              return html`<li>
                <p><strong>${label}</strong>${handle === credentialId && ", this device"}<br />since ${since}</p>
                ${
                  handle !== credentialId &&
                  form(
                    `/devices/${handle}/end`,
                    "Log out there",
                    undefined,
                    "plain",
                    `Log out there: ${label}, since ${since}`,
                  )
                }
              </li>`;
            })}
          </ul>`,
      }),
    );
  });

  router.post("/devices/:handle/end", security.requireSession(), async (req, res) => {
    await directory.end(req.principal?.id ?? "", String(req.params.handle));
    res.redirect(303, "/devices?status=ended");
  });

  return router;
}
