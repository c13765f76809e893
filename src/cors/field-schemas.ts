import { METHODS } from "node:http";
import { z } from "zod";
import { addIssue, selectSchema } from "../settings/object.js";
import {
  isCorsProtocolHeader,
  isForbiddenMethod,
  isForbiddenRequestHeader,
  isForbiddenResponseHeader,
  isToken,
} from "./names.js";

/** A list, or `"*"` for everything. A list never contains `"*"`. */
export function listOrAll(element: z.ZodType<string, string>): z.ZodType<string[] | "*", readonly string[] | "*"> {
  return selectSchema((value) => (value === "*" ? z.literal("*") : z.array(element)));
}

/** A method that a preflight may ask for. */
export const methodSchema = z.string().superRefine((method, context) => {
  const upper = method.toUpperCase();
  if (method === "*") {
    addIssue(context, {
      code: "wrong-value",
      message: '"*" is not a method, and in a list it does not stand for all of them.',
      remedy: 'Name the methods, or set cors.methods: "*", not a list.',
    });
  } else if (isForbiddenMethod(method)) {
    addIssue(context, {
      code: "wrong-value",
      message: "No browser lets a page use CONNECT, TRACE or TRACK.",
      remedy: "Remove it.",
    });
  } else if (method !== upper && METHODS.includes(upper)) {
    addIssue(context, {
      code: "wrong-value",
      message: "Methods are compared with case, so this would never match.",
      remedy: `Write ${upper}.`,
    });
  } else if (!METHODS.includes(method)) {
    addIssue(context, {
      code: "wrong-value",
      message: "This version of Node takes no requests of this method.",
      remedy: "Name methods such as GET, POST or PATCH.",
    });
  }
});

const requestHeaderSchema = z.string().superRefine((name, context) => {
  const problem = headerProblem(name, "allowedHeaders");
  if (problem !== undefined) addIssue(context, problem);
  else if (isForbiddenRequestHeader(name.toLowerCase())) {
    addIssue(context, {
      code: "wrong-value",
      message: "Only the browser itself writes this request header, so allowing it does nothing.",
      remedy: "Remove it. For cookies set cors.credentials instead.",
    });
  }
});

/** `["*", "Authorization"]` in either order: without credentials `*` covers every other name (Fetch section 4.8). */
function isAllAndAuthorization(names: readonly unknown[]): boolean {
  return (
    names.length === 2 &&
    names.includes("*") &&
    names.some((name) => typeof name === "string" && name.toLowerCase() === "authorization")
  );
}

/** The request headers that a preflight may ask for. */
export const requestHeadersSchema: z.ZodType<string[] | "*", readonly string[] | "*"> = selectSchema((value) =>
  Array.isArray(value) && isAllAndAuthorization(value) ? z.array(z.string()) : listOrAll(requestHeaderSchema),
);

/** A response header that a page may read. */
export const responseHeaderSchema = z.string().superRefine((name, context) => {
  const problem = headerProblem(name, "exposedHeaders");
  if (problem !== undefined) addIssue(context, problem);
  else if (isForbiddenResponseHeader(name.toLowerCase())) {
    addIssue(context, {
      code: "wrong-value",
      message: "No browser shows this response header to a page.",
      remedy: "Remove it.",
    });
  }
});

function headerProblem(
  name: string,
  setting: string,
): { code: "wrong-value"; message: string; remedy: string } | undefined {
  if (name === "*") {
    return {
      code: "wrong-value",
      message: '"*" is not a header, and in a list it does not stand for all of them.',
      remedy: `Name the headers, or set cors.${setting}: "*", not a list.`,
    };
  }
  if (!isToken(name))
    return {
      code: "wrong-value",
      message: "This is not the name of a header.",
      remedy: "Use letters, digits and hyphens, without spaces and colon.",
    };
  if (isCorsProtocolHeader(name.toLowerCase())) {
    return {
      code: "wrong-value",
      message: "Access-Control-* headers are written by the browser and by this protection.",
      remedy: "Remove it.",
    };
  }
  return undefined;
}
