import { z } from "zod";
import { exemptPathSchema, modeSchema } from "../settings/common.js";
import { addIssue, selectSchema, settingsObject } from "../settings/object.js";
import type { TrustFunction } from "../core/trust-check.js";
import { functionOr } from "../settings/trust-function.js";
import { readHostEntry } from "./host-entry.js";

/**
 * The hosts that `debug: true` allows when no hosts are given: the machine itself, under the names that browsers use
 * for it.
 */
export const DEBUG_HOSTS: readonly string[] = Object.freeze(["localhost", "127.0.0.1", "[::1]"]);

const EXAMPLE = '["api.example.com"]';

/** One host: `name`, `name:port`, `*.name`, an IPv4 address or an IPv6 address with or without brackets. */
const hostEntrySchema = z.string().transform((text, context) => {
  const read = readHostEntry(text);
  if ("entry" in read) return read.entry;
  addIssue(context, read);
  return z.NEVER;
});

function issueSchema(code: "missing-setting" | "wrong-type", message: string, remedy: string): z.ZodType {
  return z.unknown().superRefine((_value, context) => addIssue(context, { code, message, remedy }));
}

const hostListSchema = selectSchema<readonly string[], string[]>((value) => {
  if (value === undefined)
    return issueSchema(
      "missing-setting",
      "This setting is required: the host names that this app answers for.",
      `Write a list: ${EXAMPLE}.`,
    );
  if (!Array.isArray(value)) return issueSchema("wrong-type", "The hosts must be a list.", `Write a list: ${EXAMPLE}.`);
  if (value.length === 0)
    return issueSchema(
      "missing-setting",
      "The list of hosts is empty. An empty list does not allow every host.",
      `List the host names of this app: ${EXAMPLE}.`,
    );
  return z.array(hostEntrySchema);
});

const hostsSchema = functionOr(hostListSchema);

const objectSchema = settingsObject({
  /**
   * Hosts that this service answers for: names on every port (`api.example.com`), names with one port
   * (`localhost:8080`), all names below one (`*.example.com`, not `example.com` itself), addresses (`127.0.0.1`,
   * `[::1]`). Compared without case. Required; an empty list is an error. Or a function of the host, in lower case and
   * without a port, for example one that asks a table of tenants: it returns `true`, `false` or a promise of one, within
   * 250 milliseconds.
   */
  hosts: hostsSchema,
  /**
   * Exact paths on which GET and HEAD are answered for any host, for health checks that call by address. Default:
   * none.
   */
  exemptPaths: z.array(exemptPathSchema).default([]),
  /**
   * Take the host from X-Forwarded-Host when a trusted proxy (`trustProxy`) sent it. Only for a proxy that replaces
   * Host by a name of its own and always writes X-Forwarded-Host itself. Default: `false`.
   */
  forwardedHost: z.boolean().default(false),
  /** `report` announces a request for another host as an event and lets it pass. Default: `"enforce"`. */
  mode: modeSchema,
});

/** Settings of the trusted hosts as an object. */
export interface TrustedHostObjectSettings extends z.input<typeof objectSchema> {}
/** Settings of the trusted hosts: the list of hosts or the function alone, or an object around it. */
export type TrustedHostSettings = readonly string[] | TrustFunction | TrustedHostObjectSettings;
/** Settings of the trusted hosts with every default filled in. */
export interface ResolvedTrustedHostSettings extends z.output<typeof objectSchema> {}

/** Takes a list of hosts, a function or an object, and always returns the object with entries in their normal form. */
export const trustedHostSchema = selectSchema<TrustedHostSettings, ResolvedTrustedHostSettings>((value) => {
  if (Array.isArray(value) || typeof value === "function")
    return hostsSchema.transform((hosts) => objectSchema.parse({ hosts }));
  if (typeof value === "object" && value !== null) return objectSchema;
  if (value === undefined) return hostListSchema;
  return issueSchema(
    "wrong-type",
    "This must be a list of hosts or an object.",
    `Write a list, ${EXAMPLE}, or { hosts: ${EXAMPLE} }.`,
  );
});
