import { virtualNow } from "./virtual-time.js";

/** The clients of a server that do not reach it, and until when: a network that has split. */
export class CutOffClients {
  readonly #until = new Map<string, number>();

  add(client: string, ms: number): void {
    this.#until.set(client, virtualNow() + ms);
  }

  has(client: string): boolean {
    return virtualNow() < (this.#until.get(client) ?? -1);
  }
}
