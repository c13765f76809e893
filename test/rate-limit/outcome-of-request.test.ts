import { type AddressInfo, connect } from "node:net";
import { once } from "node:events";
import { createServer } from "node:http";
import express from "express";
import { expect, it, onTestFinished } from "vitest";
import { whenAnswered } from "../../src/rate-limit/outcome-of-request.js";

it("a connection that has ended before anyone listened is a failure, once", async () => {
  const settled: boolean[] = [];
  const app = express();
  const done = new Promise<void>((resolve) => {
    app.use((req, res) => {
      res.once("close", () =>
        setImmediate(() => {
          whenAnswered(
            req,
            res,
            () => false,
            (failed) => settled.push(failed),
          );
          res.send("late");
          setTimeout(resolve, 20);
        }),
      );
    });
  });
  const server = createServer(app).listen(0, "127.0.0.1");
  onTestFinished(() => void server.close());
  await once(server, "listening");
  const client = connect((server.address() as AddressInfo).port, "127.0.0.1");
  client.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  await once(server, "request");
  client.destroy();
  await done;
  expect(settled).toEqual([true]);
});

it("pipelined requests whose connection ends are failures, each once", async () => {
  const settled: boolean[] = [];
  let arrived = 0;
  const app = express();
  app.use((req, res) => {
    arrived += 1;
    whenAnswered(
      req,
      res,
      () => false,
      (failed) => settled.push(failed),
    );
    setTimeout(() => res.send("late"), 100);
  });
  const server = createServer(app).listen(0, "127.0.0.1");
  onTestFinished(() => void server.close());
  await once(server, "listening");
  const client = connect((server.address() as AddressInfo).port, "127.0.0.1");
  client.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(3));
  await expect.poll(() => arrived).toBe(3);
  client.destroy();
  await new Promise((resolve) => setTimeout(resolve, 150));
  expect(settled).toEqual([true, true, true]);
});
