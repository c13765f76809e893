type Method = (...args: never[]) => unknown;

type MethodName<Contract> = {
  [Name in keyof Contract]-?: NonNullable<Contract[Name]> extends Method ? Name : never;
}[keyof Contract];

/**
 * The methods of a contract, and whether every implementation has them. The compiler requires an entry for each method,
 * so a method added to a contract reaches every class that forwards it.
 */
export type MethodTable<Contract> = {
  readonly [Name in MethodName<Contract>]: undefined extends Contract[Name] ? "optional" : "required";
};

/** Whether a value has the required methods of a contract. */
export function hasMethods(value: unknown, methods: Readonly<Record<string, "required" | "optional">>): boolean {
  if (typeof value !== "object" || value === null) return false;
  return Object.entries(methods).every(
    ([name, need]) => need === "optional" || typeof (value as Record<string, unknown>)[name] === "function",
  );
}

/** Runs `call` with the implementation: at once, or when it becomes available. */
export type Forward<Contract> = (call: (target: Contract) => unknown) => unknown;

/**
 * Creates a base class that forwards each method of the contract unchanged. A subclass overrides the methods that do
 * more. An optional method that the implementation lacks returns `undefined`.
 */
export function forwarding<Contract extends object>(
  methods: MethodTable<Contract>,
): new (forward: Forward<Contract>) => Contract {
  class Forwarding {
    constructor(forward: Forward<Contract>) {
      const own = this as Record<string, unknown>;
      for (const name of Object.keys(methods)) {
        if (name in this) continue;
        own[name] = (...args: unknown[]) =>
          forward((target) =>
            (target as Record<string, ((...args: unknown[]) => unknown) | undefined>)[name]?.(...args),
          );
      }
    }
  }
  return Forwarding as unknown as new (forward: Forward<Contract>) => Contract;
}
