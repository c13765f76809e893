/** A window that several keys share because the store was full when they came. */
export interface OverflowWindow {
  readonly index: number;
  /** Its log; -1 once it has run empty. The object is then dead and never used again. */
  slot: number;
  /** The longest window, in microseconds, that anything in it was recorded for. */
  window: number;
}

/** What the clients of one policy have in common. */
export interface WindowTable {
  /** Number by which logs name their table. */
  readonly id: number;
  readonly name: string;
  readonly overflow: Map<number, OverflowWindow>;
  clients: number;
}

/** The tables of a store, by the name of the policy. A table lives while it has clients. */
export class WindowTables {
  readonly #byName = new Map<string, WindowTable>();
  #byId: (WindowTable | undefined)[] = [];
  #freeIds: number[] = [];
  #last: WindowTable | undefined;

  find(name: string): WindowTable | undefined {
    // Nearly all calls are for one policy; the names are then the same string and this is one comparison.
    if (this.#last?.name === name) return this.#last;
    const table = this.#byName.get(name);
    if (table !== undefined) this.#last = table;
    return table;
  }

  open(name: string): WindowTable {
    const known = this.find(name);
    if (known !== undefined) return known;
    const table: WindowTable = { id: this.#freeIds.pop() ?? this.#byId.length, name, overflow: new Map(), clients: 0 };
    this.#byId[table.id] = table;
    this.#byName.set(name, table);
    return table;
  }

  byId(id: number): WindowTable {
    return this.#byId[id]!;
  }

  /** Forgets the table when nobody is in it any more. */
  closeIfEmpty(table: WindowTable): void {
    if (table.clients > 0 || table.overflow.size > 0) return;
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
  }
}
