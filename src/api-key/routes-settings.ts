import type { Request } from "express";
import { z } from "zod";
import type { Middleware } from "../core/middleware.js";
import { realmSchema } from "../settings/identity.js";
import { settingsObject } from "../settings/object.js";

/** Settings of the routes. */
export const apiKeyRoutesSchema = settingsObject({
  /** The realm in WWW-Authenticate. Default: the realm of the service. */
  realm: realmSchema.optional(),
  /**
   * Days that a key made with a token may live, 1 to 3650. Keys made in a session are not bound by it, and a key made
   * with a key never outlives that one. Default: until the token ends.
   */
  maxLifetimeDays: z.int().min(1).max(3650).optional(),
  /**
   * Whose keys the caller manages, for keys of organisations: returns the owner's id, from what the app knows of the
   * caller (a membership, never a field of the request alone). A caller for whom it returns nothing, or throws, gets
   * 403. A caller with an API key manages only keys of that key's own owner. Default: `req.principal.id`.
   */
  owner: z
    .custom<OwnerOf>((value) => typeof value === "function", {
      error: "This is not a function.",
      params: { code: "wrong-type", remedy: "Write owner: (req) => the id of the organisation, or remove it." },
    })
    .optional(),
  /**
   * A guard for `POST`, asked of callers with a session: `accounts.requireFresh()` of `portcullis/accounts`. A key or a token
   * has its own limits. Default: none.
   */
  fresh: z
    .custom<Middleware>((value) => typeof value === "function", {
      error: "This is not middleware.",
      params: { code: "wrong-type", remedy: "Write fresh: accounts.requireFresh(), or remove it." },
    })
    .optional(),
});

/** Says whose keys a caller manages. */
export type OwnerOf = (req: Request) => string | undefined | Promise<string | undefined>;

/** Settings of `apiKeyRoutes`. */
export interface ApiKeyRoutesSettings extends z.input<typeof apiKeyRoutesSchema> {}
