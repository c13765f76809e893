// Builds dist/esm and dist/cjs from the one source. TypeScript takes a file's module format from the nearest package.json,
// so the CommonJS pass compiles a copy of src that lies beside a package.json saying so; `import()` stays `import()` there,
// which is how the optional peers that are ESM only are reached from CommonJS.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const tsc = `${root}node_modules/typescript/bin/tsc`;
rmSync(`${root}dist`, { recursive: true, force: true });

async function compile(format, type) {
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
        outDir: `../${format}`,
        rootDir: "src",
        paths: {},
        typeRoots: [`${root}node_modules/@types`],
      },
      include: ["src"],
      exclude: [],
    }),
  );
  const [status] = await once(spawn(process.execPath, [tsc, "-p", stage], { stdio: "inherit" }), "close");
  if (status !== 0) throw new Error(`The ${format} build has type errors.`);
  writeFileSync(`${root}dist/${format}/package.json`, JSON.stringify({ type, sideEffects: false }));
  rmSync(stage, { recursive: true });
}

await Promise.all([compile("esm", "module"), compile("cjs", "commonjs")]);
