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
      message: '"*" is not a method. In a list it does not stand for all methods.',
      remedy: 'List the methods, or write cors.methods: "*" without a list.',
    });
  } else if (isForbiddenMethod(method)) {
    addIssue(context, {
      code: "wrong-value",
      message: "Browsers do not let a page use CONNECT, TRACE or TRACK.",
      remedy: "Remove it.",
    });
  } else if (method !== upper && METHODS.includes(upper)) {
    addIssue(context, {
      code: "wrong-value",
      message: "Methods are case-sensitive, so this would never match.",
      remedy: `Write ${upper}.`,
    });
  } else if (!METHODS.includes(method)) {
    addIssue(context, {
      code: "wrong-value",
      message: "This version of Node does not support this method.",
      remedy: "Use methods such as GET, POST or PATCH.",
    });
  }
});

const requestHeaderSchema = z.string().superRefine((name, context) => {
  const problem = headerProblem(name, "allowedHeaders");
  if (problem !== undefined) addIssue(context, problem);
  else if (isForbiddenRequestHeader(name.toLowerCase())) {
    addIssue(context, {
      code: "wrong-value",
      message: "Only the browser itself can set this request header, so allowing it has no effect.",
      remedy: "Remove it. To allow cookies, set cors.credentials.",
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
      message: "Browsers never expose this response header to a page.",
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
      message: '"*" is not a header. In a list it does not stand for all headers.',
      remedy: `List the headers, or write cors.${setting}: "*" without a list.`,
    };
  }
  if (!isToken(name))
    return {
      code: "wrong-value",
      message: "This is not a valid header name.",
      remedy: "Use letters, digits and hyphens, without spaces or a colon.",
    };
  if (isCorsProtocolHeader(name.toLowerCase())) {
    return {
      code: "wrong-value",
      message: "Access-Control-* headers are set by the browser and by this protection.",
      remedy: "Remove it.",
    };
  }
  return undefined;
}
