declare module "cookie-signature" {
  import type { KeyObject } from "node:crypto";
  export function sign(value: string, secret: string | KeyObject): string;
  export function unsign(signed: string, secret: string | KeyObject): string | false;
}
