import type { Import } from "./imports.js";

/** A folder of `src`, or several in rows. A room may import from the rows below its own, and from no row above. */
export interface Room {
  readonly name: string;
  /** What is in it, in a few words. */
  readonly about?: string;
  /** Path below `src`; it owns the files of its sub-folders too, unless another room names them. */
  readonly folder?: string;
  /** Whether its folders import nothing from each other. */
  readonly areSeparate?: boolean;
  readonly rows?: readonly (readonly Room[])[];
}

const leaf = (folder: string, about?: string): Room => ({
  name: folder.replace(/^stores\/|^core\//, ""),
  folder,
  about,
});

/** The house, from top to bottom. A new folder needs a place here. */
export const HOUSE: Room = {
  name: "src",
  rows: [
    [
      { name: "src/*.ts", folder: "", about: "applySecurity, the layer table, guards" },
      leaf("mcp", "for MCP servers"),
      leaf("testing", "for tests of apps and stores"),
    ],
    [
      {
        name: "layers",
        about: "one folder for each protection",
        areSeparate: true,
        rows: [
          ["headers", "trusted-host", "cors", "rate-limit", "csrf", "session", "api-key", "jwt"].map((name) =>
            leaf(name),
          ),
        ],
      },
    ],
    [
      {
        name: "stores",
        about: "where counts, sessions, keys and tokens are kept",
        rows: [[leaf("stores"), leaf("stores/memory"), leaf("stores/redis"), leaf("stores/sql")]],
      },
    ],
    [leaf("core"), leaf("core/response")],
    [leaf("settings")],
  ],
};

/** The folders of a room, its own or those of its rows. */
export function foldersOf(room: Room): string[] {
  return [...(room.folder === undefined ? [] : [room.folder]), ...(room.rows ?? []).flat().flatMap(foldersOf)];
}

/** The folder of `HOUSE` that a file belongs to: the longest one that its path begins with. */
export function folderOf(file: string, folders: readonly string[]): string {
  const owner = folders
    .filter((folder) => (folder === "" ? !file.includes("/") : file.startsWith(`${folder}/`)))
    .sort((a, b) => b.length - a.length)[0];
  if (owner === undefined)
    throw new Error(`src/${file} is in no room: give its folder a place in test/architecture/rooms.ts.`);
  return owner;
}

/** How many imports lead from any of the first folders to any of the second. */
export function count(
  imports: readonly Import[],
  owner: (file: string) => string,
  from: readonly string[],
  to: readonly string[],
): number {
  return imports.filter((one) => from.includes(owner(one.from)) && to.includes(owner(one.to))).length;
}
