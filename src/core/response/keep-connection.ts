import type { Socket } from "node:net";

/**
 * Keeps a connection open while an answer that the app has given waits for its session to be saved. Express destroys the connection
 * when a handler fails after it has answered (finalhandler), and the answer would be lost with it.
 *
 * @returns a function that ends this; it returns what was asked of the connection meanwhile, to be done once the answer is out
 */
export function keepConnection(socket: Socket | null | undefined): () => (() => void) | undefined {
  // Responses of serverless adapters and of tests have no socket, or one that is no stream.
  if (typeof socket?.destroy !== "function") return () => undefined;
  const own = Object.getOwnPropertyDescriptor(socket, "destroy");
  const destroy = socket.destroy.bind(socket);
  let isKept = true;
  let asked: (() => void) | undefined;
  const deferred: Socket["destroy"] = (error) => {
    if (!isKept) return destroy(error);
    asked ??= () => void destroy(error);
    return socket;
  };
  socket.destroy = deferred;
  return () => {
    isKept = false;
    // Another answer on this connection may have put its own function around this one.
    if (socket.destroy === deferred) {
      if (own === undefined) Reflect.deleteProperty(socket, "destroy");
      else Object.defineProperty(socket, "destroy", own);
    }
    return asked;
  };
}
