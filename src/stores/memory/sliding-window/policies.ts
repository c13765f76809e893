import type { WindowPolicy } from "../../contracts.js";
import { OWN, WindowRoom } from "./capacity.js";

/** A window that several keys share because there was no room for their own. */
export interface OverflowWindow {
  readonly id: string | number;
  /** `ADDRESS`, `NARROW`, `WIDE` or `HASHED`. */
  readonly kind: number;
  /** The wide network that contains it; `undefined` for a hashed one. */
  readonly network: WideNetwork | undefined;
  /** The coarser window that its keys may have used before it was opened. */
  readonly before: Before | undefined;
  /** Its log; -1 once it is empty. The object is then never used again. */
  slot: number;
  /** The longest window, in microseconds, that any of its records was made for. */
  window: number;
}

/** An overflow window where a key may have records, and the time when the last of them has expired. */
export interface Before {
  readonly shared: OverflowWindow;
  readonly until: number;
}

/** An IPv4 /16 or IPv6 /32, while windows of it are open. */
export interface WideNetwork {
  readonly id: string;
  /** Open windows of each kind. */
  readonly open: number[];
}

/** What the clients of one policy share. */
export interface WindowTable {
  /** The number by which logs refer to their table. */
  readonly id: number;
  readonly name: string;
  readonly room: WindowRoom;
  readonly overflow: Map<string | number, OverflowWindow>;
  readonly networks: Map<string, WideNetwork>;
  /** Open windows of each kind. */
  readonly open: number[];
}

/** The tables of a store, by the name of the policy. A table exists while it has clients. */
export class WindowTables {
  readonly #byName = new Map<string, WindowTable>();
  readonly #mainRoom: WindowRoom;
  readonly #namedRoom: WindowRoom;
  #byId: (WindowTable | undefined)[] = [];
  #freeIds: number[] = [];
  #last: WindowTable | undefined;

  /** @param maxClients for the main limit, and as many again for all others together */
  constructor(maxClients: number) {
    this.#mainRoom = new WindowRoom(maxClients);
    this.#namedRoom = new WindowRoom(maxClients);
  }

  /** How many more windows of a kind this limit may open. */
  free(kind: number, policy: WindowPolicy, table: WindowTable | undefined): number {
    return table === undefined ? this.#roomOf(policy).free(kind, 0) : table.room.free(kind, table.open[kind]!);
  }

  find(name: string): WindowTable | undefined {
    // Nearly all calls are for one policy. The names are then the same string, so this is one comparison.
    if (this.#last?.name === name) return this.#last;
    const table = this.#byName.get(name);
    if (table !== undefined) this.#last = table;
    return table;
  }

  open(policy: WindowPolicy): WindowTable {
    const { name } = policy;
    const known = this.find(name);
    if (known !== undefined) return known;
    const id = this.#freeIds.pop() ?? this.#byId.length;
    const table: WindowTable = {
      id,
      name,
      room: this.#roomOf(policy),
      overflow: new Map(),
      networks: new Map(),
      open: [0, 0, 0, 0, 0],
    };
    this.#byId[table.id] = table;
    this.#byName.set(name, table);
    return table;
  }

  byId(id: number): WindowTable {
    return this.#byId[id]!;
  }

  /** Counts a window that was opened (1) or closed (-1), and removes a table without windows. */
  count(table: WindowTable, kind: number, change: 1 | -1): void {
    table.open[kind]! += change;
    table.room.add(kind, change);
    if (change === 1 || table.open[OWN]! > 0 || table.overflow.size > 0) return;
    this.#byName.delete(table.name);
    this.#byId[table.id] = undefined;
    this.#freeIds.push(table.id);
    if (this.#last === table) this.#last = undefined;
  }

  clear(): void {
    this.#byName.clear();
    this.#byId = [];
    this.#freeIds = [];
    this.#last = undefined;
    this.#mainRoom.clear();
    this.#namedRoom.clear();
  }

  #roomOf({ isMain }: WindowPolicy): WindowRoom {
    return isMain === true ? this.#mainRoom : this.#namedRoom;
  }
}
