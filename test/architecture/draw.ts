import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { importsBelow, sourceFiles } from "./imports.js";
import { picture } from "./picture.js";

/** `npx tsx test/architecture/draw.ts`: writes architecture.svg from the imports of `src`. */
const src = fileURLToPath(new URL("../../src", import.meta.url));
writeFileSync(new URL("architecture.svg", import.meta.url), picture(sourceFiles(src), importsBelow(src)));
