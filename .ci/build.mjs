// Builds dist/esm and dist/cjs from the one source. TypeScript takes a file's module format from the nearest package.json,
// so the CommonJS pass compiles a copy of src that lies beside a package.json saying so; `import()` stays `import()` there,
// which is how the optional peers that are ESM only are reached from CommonJS.
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const tsc = `${root}node_modules/typescript/bin/tsc`;
rmSync(`${root}dist`, { recursive: true, force: true });

for (const [format, type] of [
  ["esm", "module"],
  ["cjs", "commonjs"],
]) {
  const stage = `${root}dist/stage-${format}`;
  mkdirSync(stage, { recursive: true });
  cpSync(`${root}src`, `${stage}/src`, { recursive: true, filter: (path) => !path.endsWith(".md") });
  writeFileSync(`${stage}/package.json`, JSON.stringify({ type }));
  writeFileSync(
    `${stage}/tsconfig.json`,
    JSON.stringify({
      extends: `${root}tsconfig.json`,
      compilerOptions: {
        noEmit: false,
        declaration: true,
        // What is marked @internal is for other folders of src, not for apps.
        stripInternal: true,
        outDir: `../${format}`,
        rootDir: "src",
        paths: {},
        typeRoots: [`${root}node_modules/@types`],
      },
      include: ["src"],
      exclude: [],
    }),
  );
  execFileSync(process.execPath, [tsc, "-p", stage], { stdio: "inherit" });
  writeFileSync(`${root}dist/${format}/package.json`, JSON.stringify({ type, sideEffects: false }));
  rmSync(stage, { recursive: true });
}
