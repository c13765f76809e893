import type { z } from "zod";
import { looksLikeMilliseconds } from "../settings/durations.js";
import { addIssue } from "../settings/object.js";

const MINUTE = 60;
const DAY = 86_400;

/** The longest life in each unit. */
export const LONGEST = {
  accessTokenMinutes: 30 * 24 * 60,
  accessTokenSeconds: 30 * DAY,
  refreshTokenDays: 365,
  refreshTokenSeconds: 365 * DAY,
  absoluteDays: 3650,
  absoluteSeconds: 3650 * DAY,
} as const;

/** Each life in its two units, of which at most one is set. */
interface LifeSettings {
  readonly accessTokenMinutes?: number | undefined;
  readonly accessTokenSeconds?: number | undefined;
  readonly refreshTokenDays?: number | undefined;
  readonly refreshTokenSeconds?: number | undefined;
  readonly absoluteDays?: number | undefined;
  readonly absoluteSeconds?: number | undefined;
  readonly units?: "seconds" | undefined;
}

/** The lives in seconds. */
export interface TokenLives {
  /** Life of an access token. */
  readonly access: number;
  /** How long a refresh token may stay unused. */
  readonly refresh: number;
  /** Life of a family of refresh tokens. */
  readonly absolute: number;
}

const PAIRS = [
  { coarse: "accessTokenMinutes", fine: "accessTokenSeconds" },
  { coarse: "refreshTokenDays", fine: "refreshTokenSeconds" },
  { coarse: "absoluteDays", fine: "absoluteSeconds" },
] as const;

/** Adds the issues that the lives have together. */
export function checkLives(settings: LifeSettings, context: z.core.$RefinementCtx): void {
  for (const { coarse, fine } of PAIRS) {
    const seconds = settings[fine];
    if (seconds === undefined) continue;
    if (settings[coarse] !== undefined) {
      addIssue(context, {
        code: "contradiction",
        path: [fine],
        message: `${coarse} and ${fine} both set this time.`,
        remedy: `Remove ${coarse} or ${fine}.`,
      });
    }
    if (settings.units === undefined) looksLikeMilliseconds(fine, seconds, context, LONGEST[fine]);
  }
  const { refresh, absolute } = livesOf(settings);
  if (absolute >= refresh) return;
  const unit = settings.absoluteSeconds === undefined ? "absoluteDays" : "absoluteSeconds";
  addIssue(context, {
    code: "contradiction",
    path: [unit],
    message: "A family of refresh tokens would end before its first token expires.",
    remedy: `Set ${unit} to at least ${settings.refreshTokenSeconds === undefined ? "refreshTokenDays" : "refreshTokenSeconds"}.`,
  });
}

/** Fills in the lives that are not set; a life keeps its unit. */
export function withDefaultLives<Settings extends LifeSettings>(settings: Settings): Settings {
  const { access, refresh, absolute } = livesOf(settings);
  return {
    ...settings,
    ...(settings.accessTokenSeconds === undefined ? { accessTokenMinutes: access / MINUTE } : {}),
    ...(settings.refreshTokenSeconds === undefined ? { refreshTokenDays: refresh / DAY } : {}),
    ...(settings.absoluteSeconds === undefined ? { absoluteDays: absolute / DAY } : {}),
  };
}

/** The lives in seconds, with their defaults. */
export function livesOf(settings: LifeSettings): TokenLives {
  const { accessTokenMinutes = 30, refreshTokenDays = 7, absoluteDays } = settings;
  const refresh = settings.refreshTokenSeconds ?? refreshTokenDays * DAY;
  const usual = Math.max(30, Math.ceil(refresh / DAY));
  return {
    access: settings.accessTokenSeconds ?? accessTokenMinutes * MINUTE,
    refresh,
    absolute: settings.absoluteSeconds ?? (absoluteDays ?? usual) * DAY,
  };
}
