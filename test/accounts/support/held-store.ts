import type { CredentialStore } from "portcullis";
import { MemoryCredentialStore } from "../../../src/stores/memory/credential-store.js";

/** A store of which one method waits when it has done its work, once it was called as often as `hold` says. */
export function heldStore(method: "listOf" | "change" = "listOf"): {
  readonly store: CredentialStore;
  hold(after: number): void;
  readonly isWaiting: Promise<void>;
  release(): void;
} {
  const inner = new MemoryCredentialStore();
  let left = Infinity;
  let release = (): void => undefined;
  let waiting = (): void => undefined;
  const isWaiting = new Promise<void>((resolve) => (waiting = resolve));
  const released = new Promise<void>((resolve) => (release = resolve));
  const wait = async <T>(done: T): Promise<T> => {
    left -= 1;
    if (left === 0) {
      waiting();
      await released;
    }
    return done;
  };
  const [listOf, change] = [inner.listOf.bind(inner), inner.change.bind(inner)];
  if (method === "listOf") inner.listOf = async (...args) => wait(await listOf(...args));
  else inner.change = async (...args) => wait(await change(...args));
  return { store: inner, hold: (after) => void (left = after), isWaiting, release: () => release() };
}
