import { join } from "node:path";
import { ROOT } from "./code-blocks.js";
import { askBroker } from "./servers/broker.js";

/** What tests run as processes of their own. */
const PROGRAMS = {
  "fleet/member": "test/fleet/member.ts",
  "fleet/accounts-member": "test/fleet/accounts-member.ts",
  "fleet/single-use-member": "test/fleet/single-use-member.ts",
  "fleet/limited-server": "test/fleet/limited-server.ts",
  "sql/busy-child": "test/stores/sql/busy-child.ts",
  "sql/starting-child": "test/stores/sql/starting-child.ts",
  "sql/writing-child": "test/stores/sql/writing-child.ts",
  "fleet-example/main": "examples/fleet/main.ts",
  "fleet-example/member": "examples/fleet/member.ts",
  "memory/measurement": "test/stores/memory/sliding-window/memory-measurement.ts",
  "property/limiter-refunds-child": "test/property/limiter-refunds-child.mjs",
  "redis/closing-child": "test/stores/redis/closing-child.ts",
  // The library as a module.
  portcullis: "src/index.ts",
} as const;

/** Bundles them. The broker of a run does it once, when the first file asks for a program. */
export async function startPrograms(): Promise<{ readonly url: string; close(): Promise<void> }> {
  // Loaded here, because each test file that asks for a server loads this module, and Vite takes a second.
  const { bundle } = await import("./bundle.js");
  const { folder, remove } = await bundle(PROGRAMS, [
    { find: /^portcullis$/, replacement: join(ROOT, "src/index.ts") },
  ]);
  return { url: folder, close: async () => remove() };
}

/** The path of a program for `node`. */
export async function program(name: keyof typeof PROGRAMS): Promise<string> {
  const folder = await askBroker("programs");
  if (folder === undefined) throw new Error("Programs are bundled by a run of vitest alone.");
  return join(folder, `${name}.mjs`);
}
