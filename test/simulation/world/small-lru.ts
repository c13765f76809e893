// The same package by its other entry: "lru-cache" itself means this module in the simulation.
import { LRUCache as Usual } from "lru-cache/raw";

/** More places than a run has use for. Each process of each seed would lay out some fifty thousand. */
const MOST = 200;

/** The package `lru-cache` with fewer places. */
export class LRUCache<
  Key extends object | string | number,
  Value extends object | string | number | boolean,
  Context = unknown,
> extends Usual<Key, Value, Context> {
  constructor(options: ConstructorParameters<typeof Usual<Key, Value, Context>>[0]) {
    super(options.max === undefined ? options : { ...options, max: Math.min(options.max, MOST) });
  }
}
