/** One check of a store. `run` rejects with an AssertionError when the store does not do what the contract says. */
export interface ConformanceCase {
  /** What the case checks. */
  readonly name: string;
  /** Runs the case; rejects when the store fails it. */
  run(): Promise<void>;
}

/** A case that makes a store of its own, and closes it whatever happens. */
export function caseWith<Store extends { close(): void | Promise<void> }>(
  makeStore: () => Store | Promise<Store>,
  name: string,
  check: (store: Store) => Promise<void>,
): ConformanceCase {
  return {
    name,
    async run() {
      const store = await makeStore();
      try {
        await check(store);
      } finally {
        await store.close();
      }
    },
  };
}

/** Makes a store and initialises it, as `ready()` does before an app uses one. */
export async function initialized<Store extends { init(): Promise<void> }>(
  makeStore: () => Store | Promise<Store>,
): Promise<Store> {
  const store = await makeStore();
  await store.init();
  return store;
}

/** Texts that break stores which quote, trim, fold or re-encode. All of them must come back as they went in. */
export const AWKWARD_TEXTS: readonly string[] = [
  "",
  " ",
  " leading and trailing ",
  'O\'Brien "quoted" `ticked` \\ backslash',
  "'; DROP TABLE portcullis_api_keys; --",
  "%_?:name $1 @p0 {{x}}",
  "null",
  "[object Object]",
  "line\r\nbreak\ttab",
  "Größe 日本語 עברית 🏰 e\u0301",
  "\u00e9",
  "e\u0301",
  "UPPER",
  "upper",
  "__proto__",
  "constructor",
  "\u{10ffff}\ufeff\u200b",
  "x".repeat(250),
];

/** Text that some engine cannot keep; a store refuses it instead of altering it. */
export const UNSTORABLE_TEXTS: readonly string[] = ["a\0b", "\ud800", "x\udc00y"];

/** `count` calls begun at once; how many resolved to true. */
export async function countTrue(count: number, call: (index: number) => Promise<boolean>): Promise<number> {
  const results = await Promise.all(Array.from({ length: count }, (_, index) => call(index)));
  return results.filter(Boolean).length;
}
