import { connect } from "node:net";
import type { Seen } from "./attack.js";

/** Longest a connection is watched, in milliseconds. Every server here closes it sooner, unless a request hangs. */
const PATIENCE_MS = 5000;

/** Sends bytes as they are (latin1) and waits until the server closes the connection. */
export function exchange(port: number, bytes: string): Promise<Omit<Seen, "reached">> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1");
    const chunks: Buffer[] = [];
    const timer = setTimeout(
      () => reject(new Error(`the connection stayed open: ${Buffer.concat(chunks).toString("latin1")}`)),
      PATIENCE_MS,
    );
    socket.on("data", (chunk) => chunks.push(chunk));
    // Who is refused before everything is sent sees the connection break.
    socket.on("error", (error: NodeJS.ErrnoException) =>
      error.code === "ECONNRESET" || error.code === "EPIPE" ? undefined : reject(error),
    );
    socket.on("close", () => {
      clearTimeout(timer);
      resolve(read(Buffer.concat(chunks).toString("latin1")));
    });
    socket.write(Buffer.from(bytes, "latin1"));
  });
}

/** The first answer, and how many there were. Status 0: the connection was closed without one. */
function read(text: string): Omit<Seen, "reached"> {
  const headEnd = text.indexOf("\r\n\r\n");
  const [statusLine = "", ...lines] = (headEnd === -1 ? text : text.slice(0, headEnd)).split("\r\n");
  const rawHeaders = lines.flatMap((line) => [
    line.slice(0, line.indexOf(":")),
    line.slice(line.indexOf(":") + 1).trim(),
  ]);
  const headers: Record<string, string> = {};
  for (let i = 0; i < rawHeaders.length; i += 2) headers[(rawHeaders[i] ?? "").toLowerCase()] = rawHeaders[i + 1] ?? "";
  const body = headEnd === -1 ? "" : text.slice(headEnd + 4);
  return {
    status: Number(/^HTTP\/1\.1 (\d{3}) /.exec(statusLine)?.[1] ?? 0),
    rawHeaders,
    headers,
    text: body,
    json: () => JSON.parse(body) as unknown,
    responses: text.match(/^HTTP\/1\.1 \d{3} /gm)?.length ?? 0,
  };
}
