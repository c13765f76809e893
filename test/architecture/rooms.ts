import type { Import } from "./imports.js";

/** A folder of `src`, or several in rows. A room may import from the rows below its own, and from no row above. */
export interface Room {
  readonly name: string;
  /** What is in it, in a few words. */
  readonly about?: string;
  /** Path below `src` of a folder, whose sub-folders belong to it unless another room names them, or of one file. */
  readonly folder?: string;
  /** Whether its folders import nothing from each other. */
  readonly areSeparate?: boolean;
  readonly rows?: readonly (readonly Room[])[];
}

const leaf = (folder: string, about?: string): Room => ({ name: folder.replace(/^stores\//, ""), folder, about });

/** The house, from top to bottom. A new folder needs a place here. */
export const HOUSE: Room = {
  name: "src",
  rows: [
    [leaf("accounts", "portcullis/accounts")],
    [
      { name: "src/*.ts", folder: "", about: "applySecurity, layers.ts, guards" },
      leaf("mcp", "portcullis/mcp"),
      leaf("testing", "portcullis/testing"),
    ],
    [leaf("app-settings", "the settings of all layers together"), leaf("server", "createServer, listen")],
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
        about: "where counts, sessions, keys, tokens and revocations are kept",
        rows: [
          [leaf("stores/open.ts", "chooses the stores by the settings")],
          [leaf("stores/memory"), leaf("stores/redis"), leaf("stores/sql"), leaf("stores/database")],
          [leaf("stores/revocations", "what other processes must know")],
          [
            { name: "contracts.ts and others", folder: "stores", about: "what a store promises" },
            leaf("stores/health", "circuits, deadlines, outages"),
          ],
        ],
      },
    ],
    [leaf("settings", "strict objects, errors, secrets")],
    [
      leaf("core", "pipeline, state, events"),
      leaf("core/http", "what a request brings"),
      leaf("core/response", "writes every response head"),
    ],
  ],
};

/** The folders of a room, its own or those of its rows. */
export function foldersOf(room: Room): string[] {
  return [...(room.folder === undefined ? [] : [room.folder]), ...(room.rows ?? []).flat().flatMap(foldersOf)];
}

/** The folder of `HOUSE` that a file belongs to: the longest one that its path begins with. */
export function folderOf(file: string, folders: readonly string[]): string {
  const owner = folders
    .filter((folder) => (folder === "" ? !file.includes("/") : file === folder || file.startsWith(`${folder}/`)))
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
