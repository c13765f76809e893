// node:http alone: what no framework can go below.
import { createServer } from "node:http";
import { serve } from "./common.mjs";

serve(
  createServer((req, res) => {
    if (req.method === "OPTIONS") {
      res.writeHead(204);
      res.end();
      return;
    }
    const body = JSON.stringify({ hello: req.url === "/me" ? "ada" : "world" });
    res.writeHead(200, {
      "Content-Type": "application/json; charset=utf-8",
      "Content-Length": Buffer.byteLength(body),
    });
    res.end(body);
  }),
);
