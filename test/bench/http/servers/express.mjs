// Express with two routes and nothing else.
import { createServer } from "node:http";
import express from "express";
import { serve, USER } from "./common.mjs";

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

serve(createServer(app));
