import type { Call } from "../quickstart/http.js";
import type { Answer, Guide, Stop } from "./tour.js";

export function stop(title: string, run: (guide: Guide) => Promise<void>): Stop {
  return { title, run };
}

export const fromBoth = (answers: readonly Answer[]): boolean =>
  new Set(answers.map(({ servedBy }) => servedBy)).size === 2;
export const me = ({ memory }: Guide): Call => ({ path: "/me", headers: { Cookie: memory.cookie } });
export const ordersByKey = (key: string): Call => ({ path: "/orders", headers: { "X-API-Key": key } });
export const ordersByToken = ({ memory }: Guide): Call => ({
  path: "/orders",
  headers: { Authorization: `Bearer ${memory.accessToken}` },
});
