import { once } from "node:events";
import { connect, createServer, type AddressInfo, type Socket } from "node:net";

/** What is lost with the connection: the answer to a COMMIT that the server has done, or the COMMIT itself. */
export type Loss = "answer" | "commit";

/** A TCP proxy before a PostgreSQL or a MySQL server that can cut a connection at the next COMMIT. */
export interface CommitProxy {
  /** The database's URL, by way of this proxy. */
  readonly url: string;
  /**
   * Loses the next COMMIT that comes by, or its answer, and cuts its connection.
   *
   * @param server whether other connections can be made afterwards; with "gone" all are cut, until `heal`
   */
  loseNext(loss: Loss, server: "there" | "gone"): void;
  /** How many were lost so far. */
  readonly lost: number;
  heal(): void;
  close(): Promise<void>;
}

/** COMMIT as a simple query of PostgreSQL, and as COM_QUERY of MySQL. Statements that only contain the word do not match. */
const COMMIT = /Q\0\0\0\x0bcommit\0|\x07\0\0\0\x03commit/i;

export async function startCommitProxy(target: string): Promise<CommitProxy> {
  const to = new URL(target);
  let armed: { readonly loss: Loss; readonly server: "there" | "gone" } | undefined;
  let isGone = false;
  let lost = 0;
  const open = new Set<Socket>();

  const server = createServer((client) => {
    if (isGone) return void client.resetAndDestroy();
    const upstream = connect({ host: to.hostname, port: Number(to.port) });
    let losesAnswer: "there" | "gone" | undefined;
    const cut = (after: "there" | "gone"): void => {
      lost += 1;
      isGone = after === "gone";
      for (const socket of isGone ? open : [client, upstream]) socket.resetAndDestroy();
    };
    for (const socket of [client, upstream]) {
      open.add(socket);
      socket.setNoDelay(true);
      // A cut connection is what this proxy is for.
      socket.on("error", () => undefined);
      socket.on("close", () => {
        open.delete(socket);
        client.destroy();
        upstream.destroy();
      });
    }
    client.on("data", (bytes: Buffer) => {
      if (armed !== undefined && COMMIT.test(bytes.toString("latin1"))) {
        const { loss, server: after } = armed;
        armed = undefined;
        if (loss === "commit") return cut(after);
        losesAnswer = after;
      }
      upstream.write(bytes);
    });
    upstream.on("data", (bytes: Buffer) => {
      if (losesAnswer === undefined) client.write(bytes);
      else cut(losesAnswer);
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const url = new URL(target);
  url.hostname = "127.0.0.1";
  url.port = String(port);

  return {
    url: url.href,
    loseNext: (loss, after) => void (armed = { loss, server: after }),
    get lost() {
      return lost;
    },
    heal: () => void (isGone = false),
    close: async () => {
      for (const socket of open) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}
