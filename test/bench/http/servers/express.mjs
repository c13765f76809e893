// Express with two routes and nothing else. `fast`: with requests and responses as security.createServer makes them.
import { createServer, IncomingMessage, ServerResponse } from "node:http";
import express from "express";
import { serve, settings, USER } from "./common.mjs";

const app = express();

app.options("/hello", (_req, res) => {
  res.status(204).end();
});
app.get("/hello", (_req, res) => {
  res.json({ hello: "world" });
});
app.get("/me", (_req, res) => {
  res.json({ hello: USER });
});

function Request(socket) {
  IncomingMessage.call(this, socket);
}
function Response(req, options) {
  ServerResponse.call(this, req, options);
}
Object.setPrototypeOf(Request, IncomingMessage).prototype = app.request;
Object.setPrototypeOf(Response, ServerResponse).prototype = app.response;

const classes = settings.variant === "fast" ? { IncomingMessage: Request, ServerResponse: Response } : {};
serve(createServer(classes, app));
