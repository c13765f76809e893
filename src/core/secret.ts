import { inspect } from "node:util";

/**
 * A string that must not be shown. Printing, inspecting, interpolating or serialising it gives `[secret]`,
 * so settings can be logged whole. `reveal()` is the one way to the value.
 *
 * @example
 * ```ts
 * import { Secret } from "portcullis";
 *
 * const secret = new Secret("k3Vt9sQfYb2LxWn8RzGj5HdPm7CuTa4E");
 * console.log(`${secret}`); // [secret]
 * ```
 */
export class Secret {
  readonly #value: string;

  constructor(value: string) {
    this.#value = value;
    Object.freeze(this);
  }

  /** The secret itself. Do not log it. */
  reveal(): string {
    return this.#value;
  }

  /** `[secret]`. */
  toString(): string {
    return "[secret]";
  }

  /** `[secret]`. */
  toJSON(): string {
    return "[secret]";
  }

  [inspect.custom](): string {
    return "[secret]";
  }
}
