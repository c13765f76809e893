import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import type { IncomingHttpHeaders } from "node:http";
import { request } from "node:https";
import { connect } from "node:net";
import { join } from "node:path";
import ts from "typescript";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { codeBlocks, ROOT } from "../support/code-blocks.js";
import { findBinary } from "../support/servers/binaries.js";
import { type Certificates, makeCertificates } from "../support/servers/certificates.js";
import { type RunningServer, startServer } from "../support/servers/process.js";

const PAGE = "examples/recipes/behind-a-proxy.md";
const HOST = "app.example.com";

let certificates: Certificates;
let appFolder: string;
let app: RunningServer;
let nginx: RunningServer;

async function reachable(port: number): Promise<void> {
  const socket = connect(port, "127.0.0.1");
  await once(socket, "connect");
  socket.destroy();
}

/** The configuration and the app of the page, on free ports. */
beforeAll(async () => {
  const blocks = codeBlocks(PAGE);
  const codeOf = (kind: string): string => blocks.find(({ info }) => info === kind)?.code ?? "";
  const binary = findBinary("nginx");
  if (binary === undefined)
    throw new Error(
      "nginx is not installed. Install it with `npm run setup`, or on Debian with apt-get install nginx.",
    );

  // Inside the repository, so that `portcullis` is the built package.
  appFolder = mkdtempSync(join(ROOT, "test/examples/nginx-"));
  const { outputText } = ts.transpileModule(codeOf("ts"), {
    compilerOptions: { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022 },
  });
  app = await startServer({
    name: "app",
    url: String,
    probe: reachable,
    command: (_data, port) => {
      const file = join(appFolder, "app.mjs");
      const secret = `process.env.SECRET_KEY = "k3Vt9sQfYb2LxWn8RzGj5HdPm7CuTa4E";\n`;
      writeFileSync(file, secret + outputText.replace("listen(3000)", `listen(${port}, "127.0.0.1")`));
      return { file: process.execPath, args: [file] };
    },
  });

  certificates = makeCertificates(`DNS:${HOST}`);
  nginx = await startServer({
    name: "nginx",
    url: String,
    probe: reachable,
    command: (data, port) => {
      const server = codeOf("nginx")
        .replace("listen 8443 ssl", `listen 127.0.0.1:${port} ssl`)
        .replace("/etc/nginx/app.crt", certificates.cert)
        .replace("/etc/nginx/app.key", certificates.key)
        .replace("127.0.0.1:3000", `127.0.0.1:${app.port}`);
      const folders = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(
        (name) => `${name}_temp_path ${data}/${name};`,
      );
      const file = join(data, "nginx.conf");
      writeFileSync(
        file,
        `daemon off; pid ${data}/pid; events {} http { access_log off; ${folders.join(" ")}\n${server}}`,
      );
      return { file: binary, args: ["-p", data, "-c", file, "-e", "stderr"] };
    },
  });
});

afterAll(async () => {
  await Promise.all([nginx.close(), app.close()]);
  certificates.remove();
  rmSync(appFolder, { recursive: true, force: true });
});

function send(
  path: string,
  {
    method = "GET",
    host = `${HOST}:${nginx.port}`,
    headers = {},
  }: { method?: string; host?: string; headers?: Record<string, string> } = {},
): Promise<{ status: number; headers: IncomingHttpHeaders; text: string }> {
  return new Promise((resolve, reject) => {
    const outgoing = request(
      {
        host: "127.0.0.1",
        port: nginx.port,
        path,
        method,
        servername: HOST,
        ca: readFileSync(certificates.ca),
        agent: false,
        headers: { Host: host, ...headers },
      },
      (answer) => {
        let text = "";
        answer.on("data", (chunk: Buffer) => (text += chunk.toString()));
        answer.on("end", () => resolve({ status: answer.statusCode ?? 0, headers: answer.headers, text }));
      },
    );
    outgoing.on("error", reject);
    outgoing.end();
  });
}

describe("the app of the page behind nginx with its configuration", () => {
  it("sees the client's address and https", async () => {
    const answer = await send("/");
    expect([answer.status, JSON.parse(answer.text)]).toEqual([200, { address: "127.0.0.1", secure: true }]);
    expect(answer.headers["strict-transport-security"]).toContain("max-age");
  });

  it("is not deceived by the X-Forwarded-* headers of a client", async () => {
    const headers = {
      "X-Forwarded-For": "203.0.113.9",
      "X-Forwarded-Proto": "http",
      "X-Forwarded-Host": "evil.example",
    };
    const answer = await send("/", { headers });
    expect([answer.status, JSON.parse(answer.text)]).toEqual([200, { address: "127.0.0.1", secure: true }]);
  });

  it("refuses a host that is not listed", async () => {
    expect((await send("/", { host: `evil.example:${nginx.port}` })).status).toBe(400);
    expect((await send("/", { host: `${HOST}:${nginx.port}` })).status).toBe(200);
  });

  it("accepts the POST of its own page on a port other than 443, and refuses one of another page", async () => {
    const post = (origin: string) => send("/log-in", { method: "POST", headers: { Origin: origin } });
    const own = await post(`https://${HOST}:${nginx.port}`);
    expect(own.status).toBe(204);
    expect(String(own.headers["set-cookie"])).toMatch(/^__Host-mcp_session=.*; Secure/);
    expect((await post("https://evil.example")).status).toBe(403);
    expect((await post(`http://${HOST}:${nginx.port}`)).status).toBe(403);
  });
});
