import type { IncomingMessage, ServerResponse } from "node:http";
import type helmet from "helmet";
import { loadHelmet } from "../core/dependencies.js";
import type { HeaderModel } from "./decide.js";
import type { Policy } from "./directives.js";

type Middleware = (req: IncomingMessage, res: ServerResponse, next: (error?: unknown) => void) => void;

/**
 * Runs one of helmet's middlewares against a response that only records, and returns the headers it wrote. So helmet
 * decides the values, and the request path only writes them.
 */
function recorded(middleware: Middleware): Map<string, string> {
  const written = new Map<string, string>();
  const recorder = {
    setHeader: (name: string, value: string) => void written.set(name, value),
    removeHeader: () => undefined,
  };
  middleware({} as IncomingMessage, recorder as unknown as ServerResponse, (error) => {
    if (error instanceof Error) throw error;
  });
  return written;
}

/** The text of one policy, as helmet writes it. A report-only policy may have a single directive. */
export function policyText(policy: Policy, reportOnly: boolean): string {
  const { contentSecurityPolicy } = loadHelmet();
  const directives: Record<
    string,
    readonly string[] | typeof helmet.contentSecurityPolicy.dangerouslyDisableDefaultSrc
  > = Object.fromEntries(policy);
  if (reportOnly && !policy.has("default-src"))
    directives["default-src"] = contentSecurityPolicy.dangerouslyDisableDefaultSrc;
  const headers = recorded(contentSecurityPolicy({ useDefaults: false, reportOnly, directives }));
  const [text = ""] = headers.values();
  return text;
}

/** Every header that helmet knows and that contains no policy. */
export function helmetValues(model: HeaderModel): Map<string, string> {
  return recorded(
    loadHelmet()({
      contentSecurityPolicy: false,
      strictTransportSecurity: model.transport,
      xContentTypeOptions: true,
      xFrameOptions: model.frame === false ? false : { action: model.frame === "DENY" ? "deny" : "sameorigin" },
      xXssProtection: model.xss === "0",
      referrerPolicy: model.referrer === false ? false : { policy: [...model.referrer] as "no-referrer"[] },
      crossOriginOpenerPolicy: model.opener === false ? false : { policy: model.opener },
      crossOriginResourcePolicy: model.resource === false ? false : { policy: model.resource },
      crossOriginEmbedderPolicy: model.embedder === false ? false : { policy: model.embedder },
      // No maintained browser reads these, or (the last one) browsers do the same by default now: README.md, rule 9.
      xDnsPrefetchControl: false,
      xDownloadOptions: false,
      xPermittedCrossDomainPolicies: false,
      originAgentCluster: false,
    }),
  );
}
