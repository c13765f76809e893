import type { Layer } from "./core/layer.js";
import type { Runtime } from "./core/runtime.js";
import type { Stores } from "./stores/open.js";

interface Service {
  init(): Promise<void>;
  close(): Promise<void>;
}

interface Lifecycle {
  ready(): Promise<void>;
  close(): Promise<void>;
}

/**
 * Starts and stops layers, services, modules and stores. Each of the two runs once, however often it is called.
 *
 * @param modules those that are made until it starts
 */
export function lifecycle(
  layers: readonly Layer[],
  services: readonly (Service | undefined)[],
  modules: readonly Service[],
  stores: Stores,
  runtime: Runtime,
): Lifecycle {
  const start = async (): Promise<void> => {
    await stores.ready();
    await Promise.all(services.map(async (service) => service?.init()));
    await Promise.all(layers.map(async (layer) => layer.ready?.()));
    await Promise.all(modules.map(async (module) => module.init()));
    runtime.events.emit("sys_startup", () => ({ source: "portcullis", reason: "ready" }));
  };
  const end = async (): Promise<void> => {
    await Promise.all(modules.map(async (module) => module.close()));
    await Promise.all(layers.map(async (layer) => layer.close?.()));
    await Promise.all(services.map(async (service) => service?.close()));
    await stores.close();
    runtime.events.emit("sys_shutdown", () => ({ source: "portcullis", reason: "closed" }));
  };
  let started: Promise<void> | undefined;
  let ended: Promise<void> | undefined;
  // Without this, an app that does not call ready() would see only 503s.
  stores.ready().catch((error: unknown) => {
    if (started !== undefined || ended !== undefined) return;
    process.emitWarning(
      `The stores could not be opened, and the app did not call ready(): ${error instanceof Error ? error.message : "unknown reason"}`,
      { code: "PORTCULLIS_STORES" },
    );
  });
  return { ready: () => (started ??= start()), close: () => (ended ??= end()) };
}
