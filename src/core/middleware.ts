import type { IncomingMessage, ServerResponse } from "node:http";

/**
 * Middleware for Express. Its parameters have the types of `node:http`, so that TypeScript infers nothing from them:
 * the handlers behind it on a route keep the types of their parameters, body and query. It can be used wherever
 * Express takes a `RequestHandler`.
 */
export type Middleware = (req: IncomingMessage, res: ServerResponse, next: (error?: unknown) => void) => void;
