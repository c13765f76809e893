import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, expectTypeOf, it } from "vitest";
import {
  API_KEY_STORE_METHODS,
  type ApiKeyStore,
  TOKEN_STORE_METHODS,
  type TokenStore,
} from "../../src/stores/contracts.js";
import {
  DeferredApiKeyStore,
  type OpenedStores,
  DeferredTokenStore,
} from "../../src/stores/database/deferred-stores.js";
import { LazyResource } from "../../src/stores/database/lazy-resource.js";
import { type Forward, forwarding, hasMethods, type MethodTable } from "../../src/stores/forwarding.js";
import { ChangeFeed } from "../../src/stores/revocations/change-feed.js";
import { ReplicatedTokenStore } from "../../src/stores/revocations/replicated-token-store.js";

/** A contract before and after a method was added to it. */
interface Before {
  read(name: string, depth?: number): Promise<string>;
  hint?(): number;
  readonly isCurrent?: boolean;
}
interface After extends Before {
  added(one: number, other: number): Promise<number>;
}

const BEFORE: MethodTable<Before> = { read: "required", hint: "optional" };
const AFTER: MethodTable<After> = { ...BEFORE, added: "required" };
// @ts-expect-error A table that lacks a method of its contract does not compile.
const INCOMPLETE: MethodTable<After> = BEFORE;
// @ts-expect-error Nor does one that calls a required method optional.
const WRONG: MethodTable<After> = { ...AFTER, read: "optional" };

class Implementation implements After {
  readonly #prefix = "the ";
  async read(name: string, depth = 0): Promise<string> {
    return `${this.#prefix}${name} ${depth}`;
  }
  async added(one: number, other: number): Promise<number> {
    if (other < 0) throw new RangeError("negative");
    return one + other;
  }
}

/** A wrapper written for the contract as it was: it names one method. */
class Wrapper extends forwarding<After>(AFTER) {
  override async read(name: string): Promise<string> {
    return `wrapped ${name}`;
  }
}

describe("forwarding", () => {
  it("gives a wrapper the method that is added to its contract", async () => {
    const wrapper = new Wrapper((call) => call(new Implementation()));
    expect(await wrapper.added(1, 2)).toBe(3);
    await expect(wrapper.added(1, -2)).rejects.toThrow(RangeError);
    expect(await wrapper.read("page")).toBe("wrapped page");
    expectTypeOf(wrapper.added).toEqualTypeOf<After["added"]>();
    expect([INCOMPLETE, WRONG]).toHaveLength(2);
  });

  it("passes on every argument, and gives undefined for an optional method that is missing", async () => {
    const plain = new (forwarding<After>(AFTER))((call) => call(new Implementation()));
    expect(await plain.read("page", 3)).toBe("the page 3");
    expect(plain.hint?.()).toBeUndefined();
  });

  it("waits for the implementation where the wrapper asks for it", async () => {
    const forward: Forward<After> = async (call) => call(await sleep(5, new Implementation()));
    expect(await new (forwarding<After>(AFTER))(forward).added(1, 2)).toBe(3);
    const failed = new (forwarding<After>(AFTER))(async (call) => call(await Promise.reject<After>(new Error("shut"))));
    await expect(failed.added(1, 2)).rejects.toThrow("shut");
  });
});

describe("hasMethods", () => {
  it.each([
    ["an implementation", new Implementation(), true],
    ["a plain object", { read: () => "", added: () => 0 }, true],
    ["one without an optional method", { read: () => "", added: () => 0, hint: undefined }, true],
    ["one without a required method", { read: () => "" }, false],
    ["one whose method is no function", { read: "", added: () => 0 }, false],
    ["null", null, false],
    ["a function", () => 0, false],
  ])("%s: %s", (_name, value, has) => expect(hasMethods(value, AFTER)).toBe(has));
});

describe("the stores that forward", () => {
  const echo = <Store extends TokenStore | ApiKeyStore>(methods: object, heard: string[]): Store =>
    Object.fromEntries(
      Object.keys(methods).map((name) => [
        name,
        (...args: unknown[]) => {
          heard.push(`${name} ${args.length}`);
          return name.startsWith("is") ? false : Promise.resolve(name);
        },
      ]),
    ) as unknown as Store;

  it("reach the database with every method but close", async () => {
    const heard: string[] = [];
    const opened = {
      tokens: echo<TokenStore>(TOKEN_STORE_METHODS, heard),
      apiKeys: echo<ApiKeyStore>(API_KEY_STORE_METHODS, heard),
      close: async () => {},
    } as unknown as OpenedStores;
    const opening = new LazyResource(async () => opened);
    await opening.get();
    for (const [store, methods] of [
      [new DeferredTokenStore(opening), TOKEN_STORE_METHODS],
      [new DeferredApiKeyStore(opening), API_KEY_STORE_METHODS],
    ] as const) {
      heard.length = 0;
      for (const name of Object.keys(methods))
        await (store as unknown as Record<string, (arg: number) => unknown>)[name]?.(1);
      expect(heard).toEqual(
        Object.keys(methods)
          .filter((name) => name !== "close")
          .map((name) => `${name} 1`),
      );
    }
  });

  it("reach the families of a replicated store with every method", async () => {
    const heard: string[] = [];
    const families = echo<TokenStore>(TOKEN_STORE_METHODS, heard);
    const feed = Object.create(ChangeFeed.prototype, {
      start: { value: async () => {} },
      note: { value: () => {} },
      publish: { value: async () => {} },
      isRevoked: { value: () => false },
      isKnownRevoked: { value: () => false },
      knownCutOffOf: { value: () => undefined },
      deleteExpired: { value: () => 0 },
    }) as ChangeFeed;
    const store = new ReplicatedTokenStore(families, feed, true) as unknown as Record<
      string,
      (...args: unknown[]) => unknown
    >;
    for (const name of Object.keys(TOKEN_STORE_METHODS)) await store[name]?.("x", 1, 2);
    expect(heard.map((line) => line.split(" ")[0])).toEqual(Object.keys(TOKEN_STORE_METHODS));
  });
});
