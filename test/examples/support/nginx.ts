import { readFileSync, writeFileSync } from "node:fs";
import type { IncomingHttpHeaders } from "node:http";
import { request } from "node:https";
import { join } from "node:path";
import { findBinary } from "../../support/servers/binaries.js";
import type { Certificates } from "../../support/servers/certificates.js";
import { type RunningServer, startServer } from "../../support/servers/process.js";
import { reachable } from "./sample.js";

/** Starts nginx with the server of a page, which listens on port 8443 there, on a free port and with our certificates. */
export function startNginx(
  page: string,
  app: { readonly port: number },
  certificates: Certificates,
): Promise<RunningServer> {
  const binary = findBinary("nginx");
  if (binary === undefined)
    throw new Error(
      "nginx is not installed. Install it with `npm run setup`, or on Debian with apt-get install nginx.",
    );
  return startServer({
    name: "nginx",
    url: (port) => `https://127.0.0.1:${port}`,
    probe: reachable,
    command: (data, port) => {
      const server = page
        .replace("listen 8443 ssl", `listen 127.0.0.1:${port} ssl`)
        .replace("/etc/nginx/app.crt", certificates.cert)
        .replace("/etc/nginx/app.key", certificates.key)
        .replace("/etc/nginx/clients.crt", certificates.ca)
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
}

export interface HttpsRequest {
  readonly method?: string;
  readonly headers?: Record<string, string>;
  readonly body?: string;
  /** PEM files of a client. */
  readonly client?: { readonly cert: string; readonly key: string };
}

/** One request over https, for a host whose certificate is checked. */
export function sendHttps(
  { port }: RunningServer,
  host: string,
  { ca }: Certificates,
  path: string,
  { method = "GET", headers = {}, body, client }: HttpsRequest = {},
): Promise<{ status: number; headers: IncomingHttpHeaders; text: string }> {
  return new Promise((resolve, reject) => {
    const identity = client && { cert: readFileSync(client.cert), key: readFileSync(client.key) };
    const outgoing = request(
      {
        host: "127.0.0.1",
        port,
        path,
        method,
        servername: host,
        ca: readFileSync(ca),
        ...identity,
        agent: false,
        headers: { Host: `${host}:${port}`, ...headers },
      },
      (answer) => {
        let text = "";
        answer.on("data", (chunk: Buffer) => (text += chunk.toString()));
        answer.on("end", () => resolve({ status: answer.statusCode ?? 0, headers: answer.headers, text }));
      },
    );
    outgoing.on("error", reject);
    outgoing.end(body);
  });
}
