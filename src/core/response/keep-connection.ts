import type { Socket } from "node:net";

/**
 * Keeps a connection open while a finished response waits for its session to be saved. Express destroys the
 * connection when a handler fails after it has answered (finalhandler), and the response would be lost with it.
 *
 * @returns a function that ends this; it returns the deferred call of `destroy`, if any, to make once the response is
 * sent
 */
export function keepConnection(socket: Socket | null | undefined): () => (() => void) | undefined {
  // Responses of serverless adapters and of tests have no socket, or one that is not a stream.
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
    // Another response on this connection may have wrapped this function.
    if (socket.destroy === deferred) {
      if (own === undefined) Reflect.deleteProperty(socket, "destroy");
      else Object.defineProperty(socket, "destroy", own);
    }
    return asked;
  };
}
