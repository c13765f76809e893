import { readFileSync, writeFileSync } from "node:fs";
import { picture } from "./layers-picture.js";

/** `npx tsx test/readme/draw-layers.ts`: writes the picture of the layers into README.md. */
const file = new URL("../../README.md", import.meta.url);
const drawn = await picture();
const text = readFileSync(file, "utf8");
writeFileSync(file, text.replace(/^```text\nrequest\n[^]*?^```$/m, `\`\`\`text\n${drawn}\n\`\`\``));
