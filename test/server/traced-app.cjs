"use strict";
// Prints the spans of three requests to a secured app, of which the last is refused. Run by neighbours.test.ts in a
// process of its own, because OpenTelemetry must patch `http` and `express` before anything else loads them. Arguments:
// which server, and the folder of Express.
const { SpanKind } = require("@opentelemetry/api");
const { NodeTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } = require("@opentelemetry/sdk-trace-node");
const { registerInstrumentations } = require("@opentelemetry/instrumentation");
const { HttpInstrumentation } = require("@opentelemetry/instrumentation-http");
const { ExpressInstrumentation } = require("@opentelemetry/instrumentation-express");

const exporter = new InMemorySpanExporter();
new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }).register();
registerInstrumentations({ instrumentations: [new HttpInstrumentation(), new ExpressInstrumentation()] });

const { once } = require("node:events");
const http = require("node:http");
const express = require(process.argv[3]);
const { applySecurity } = require("portcullis");

async function main(isPlain) {
  const app = express();
  applySecurity(app, { debug: true, trustedHosts: ["127.0.0.1"], rateLimit: { limit: 2 } });
  app.get("/users/:id", (req, res) => void res.json({ id: req.params.id }));
  const server = isPlain ? http.createServer(app).listen(0, "127.0.0.1") : app.listen(0, "127.0.0.1");
  await once(server, "listening");
  for (let id = 0; id < 3; id += 1) {
    const answer = await fetch(`http://127.0.0.1:${server.address().port}/users/${id}`);
    await answer.text();
  }
  await new Promise((resolve) => setTimeout(resolve, 100));
  const all = exporter.getFinishedSpans();
  // The client's spans of `fetch` are of another kind.
  const requests = all.filter(({ kind }) => kind === SpanKind.SERVER);
  const handlers = all.filter(({ attributes }) => attributes["express.name"] !== undefined);
  const spans = requests.map(
    ({ name, attributes }) =>
      `${name.trim()} ${attributes["http.response.status_code"] ?? attributes["http.status_code"]}`,
  );
  console.log(JSON.stringify({ spans, handlers: handlers.map(({ attributes }) => attributes["express.name"]) }));
  process.exit(0);
}

void main(process.argv[2] === "plain");
