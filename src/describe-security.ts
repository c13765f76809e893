import type { LayerId } from "./core/layer-id.js";
import type { SecurityModule } from "./module-host.js";
import type { SecurityParts } from "./security-parts.js";
import type { LayerDescription } from "./security.js";
import { storesOf } from "./store-report.js";

/** The layers that keep their records in `database` when it is set. */
const DATABASE_LAYERS: ReadonlySet<LayerId> = new Set(["api-key", "jwt"]);

/**
 * What `describe()` returns: the layers that are on and the modules, in their order.
 *
 * @param losses what each layer loses on a restart
 */
export function describeSecurity(
  { layers, settings, stores }: SecurityParts,
  modules: readonly SecurityModule[],
  losses: ReadonlyMap<LayerId, string>,
): LayerDescription[] {
  const places = storesOf(settings, stores.places());
  const ofLayers = layers.map(({ order, layer }): LayerDescription => {
    const lost = losses.get(layer.id);
    const store = places.get(layer.id);
    const database =
      store !== undefined && DATABASE_LAYERS.has(layer.id) && store !== "its own" && store !== "memory"
        ? stores.describe()
        : undefined;
    return {
      id: layer.id,
      order,
      mode: layer.mode,
      settings: layer.describe(),
      ...(store === undefined ? {} : { store }),
      ...(database === undefined ? {} : { database }),
      ...(lost === undefined ? {} : { lostOnRestart: lost }),
    };
  });
  return [...ofLayers, ...modules.map(describeModule)];
}

function describeModule(module: SecurityModule): LayerDescription {
  const { id, order, lostOnRestart } = module;
  return {
    id,
    order,
    mode: "enforce",
    settings: module.describe(),
    store: module.store(),
    ...(lostOnRestart === undefined ? {} : { lostOnRestart }),
  };
}
