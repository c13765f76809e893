import type { Express } from "express";
import type { Security } from "portcullis";

/** Routes to log in and out by. A log-in by GET, which no app should have, keeps the tests to what they are about. */
export function sessionRoutes(app: Express, security: Security): void {
  app.get(
    "/in/:id",
    (req, res, next) => void security.logIn(req, { id: req.params.id }).then(() => res.send("in"), next),
  );
  app.post("/out", (req, res, next) => void security.logOut(req, res).then(() => res.sendStatus(204), next));
  app.get("/who", (req, res) => void res.set("Cache-Control", "no-store").send(req.principal?.id ?? "nobody"));
}
