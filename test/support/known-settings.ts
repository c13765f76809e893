import { parseSettings, type SettingsError } from "portcullis";

type Tree = Record<string, unknown>;

/** A setting by its path: `["jwt", "keys", 0, "kid"]`. Numbers are positions in a list. */
export type SettingPath = readonly (string | number)[];

/** What each protection needs to be switched on; without it there is an issue more, which is of no matter here. */
const REQUIRED: Tree = { trustedHosts: ["a.example"], secretKey: "k3Vt9sQfYb2LxWn8RzGj5HdPm7CuTa4E" };

/** Reads settings, or throws a `SettingsError` that lists what is wrong with them. */
export type ReadSettings = (settings: object) => unknown;

const ofApplySecurity: ReadSettings = (settings) => parseSettings({ ...REQUIRED, ...settings });

/**
 * The names of the settings that an object at this place may have, as the schema lists them when it meets an unknown one.
 * Empty when the schema takes no object of settings there.
 */
export function knownSettings(path: SettingPath, read: ReadSettings = ofApplySecurity): string[] {
  const inside = path.reduceRight<unknown>((value, part) => (typeof part === "number" ? [value] : { [part]: value }), {
    "?": 1,
  });
  try {
    read(inside as Tree);
  } catch (error) {
    const place = [...path, "?"].reduce<string>(
      (text, part) => text + (typeof part === "number" ? `[${part}]` : `${text === "" ? "" : "."}${part}`),
      "",
    );
    const issue = (error as SettingsError).issues.find(
      (found) => found.code === "unknown-setting" && found.path === place,
    );
    return /Known: (.+)\.$/.exec(issue?.message ?? "")?.[1]?.split(", ") ?? [];
  }
  return [];
}

/** Every setting at every depth, the objects that hold others included. */
export function allSettings(path: SettingPath = [], read: ReadSettings = ofApplySecurity): SettingPath[] {
  return knownSettings(path, read).flatMap((name) => {
    const setting = [...path, name];
    const inList = allSettings([...setting, 0], read);
    return [setting, ...(inList.length > 0 ? inList : allSettings(setting, read))];
  });
}
