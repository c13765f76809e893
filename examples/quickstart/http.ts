import { request, type IncomingHttpHeaders } from "node:http";

export interface Call {
  method?: string;
  path: string;
  headers?: Record<string, string | string[]>;
  body?: string;
}

export interface Reply {
  status: number;
  headers: IncomingHttpHeaders;
  text: string;
}

/** One request by node:http, which (unlike fetch) lets the tour send a wrong Host, an Origin and a Cookie. */
export function call(origin: string, { method = "GET", path, headers = {}, body }: Call): Promise<Reply> {
  const { hostname, port } = new URL(origin);
  const length =
    body === undefined ? {} : { "Content-Type": "application/json", "Content-Length": String(Buffer.byteLength(body)) };
  return new Promise((resolve, reject) => {
    const req = request({ hostname, port, path, method, headers: { ...length, ...headers }, agent: false }, (res) => {
      let text = "";
      res.setEncoding("utf8");
      res.on("data", (chunk: string) => (text += chunk));
      res.on("end", () => resolve({ status: res.statusCode ?? 0, headers: res.headers, text }));
    });
    req.on("error", reject);
    req.end(body);
  });
}
