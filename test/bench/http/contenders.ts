/** One server under measurement: a row of the table. */
export interface Contender {
  readonly id: string;
  readonly title: string;
  /** File in `servers/`, and which of the servers in it. */
  readonly file: string;
  readonly variant?: string;
  /** The bare server whose cost is taken off to get the security tax; absent for one that is bare itself. */
  readonly base?: string;
}

export const CONTENDERS: readonly Contender[] = [
  { id: "node", title: "node:http, bare", file: "node.mjs" },
  { id: "express", title: "Express, bare", file: "express.mjs" },
  { id: "express-fast", title: "Express, bare, createServer", file: "express.mjs", variant: "fast" },
  { id: "lower-bound", title: "Express, lower bound by hand", file: "express-lower-bound.mjs", base: "express" },
  { id: "by-hand", title: "Express, packages wired by hand", file: "express-by-hand.mjs", base: "express" },
  { id: "portcullis", title: "portcullis, same protections", file: "portcullis.mjs", variant: "same", base: "express" },
  {
    id: "everything",
    title: "portcullis, everything on",
    file: "portcullis.mjs",
    variant: "everything",
    base: "express",
  },
  {
    id: "fast",
    title: "portcullis, everything on, createServer",
    file: "portcullis.mjs",
    variant: "everything-fast",
    base: "express",
  },
  { id: "fastify", title: "Fastify, bare", file: "fastify.mjs", variant: "bare" },
  { id: "fastify-plugins", title: "Fastify with plugins", file: "fastify.mjs", variant: "plugins", base: "fastify" },
  { id: "hono", title: "Hono, bare", file: "hono.mjs", variant: "bare" },
  { id: "hono-middleware", title: "Hono with middleware", file: "hono.mjs", variant: "middleware", base: "hono" },
];

/** The contenders asked for, each with the bare server it is compared with. @throws RangeError for an unknown name */
export function chooseContenders(ids: readonly string[] | undefined): readonly Contender[] {
  if (ids === undefined) return CONTENDERS;
  const unknown = ids.find((id) => !CONTENDERS.some((contender) => contender.id === id));
  if (unknown !== undefined)
    throw new RangeError(`No server is called ${unknown}. There are: ${CONTENDERS.map(({ id }) => id).join(", ")}.`);
  const wanted = new Set(ids);
  for (const { id, base } of CONTENDERS) if (wanted.has(id) && base !== undefined) wanted.add(base);
  return CONTENDERS.filter(({ id }) => wanted.has(id));
}
