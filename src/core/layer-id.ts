/** Ids of the layers. Their order is a number in `src/layers.ts`. */
export type LayerId =
  | "context"
  | "headers"
  | "trusted-host"
  | "cors"
  | "rate-limit"
  | "csrf"
  | "session"
  | "api-key"
  | "jwt"
  | "principal-rate-limit";
