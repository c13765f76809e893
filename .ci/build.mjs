// Builds dist/esm and dist/cjs from the one source. TypeScript checks it and writes its declarations; rolldown bundles code
// and declarations, for each format, into one file per entry of the package and one chunk that all entries share. So a class
// is one class whichever entry it comes from, and an app loads few files.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { rolldown } from "rolldown";
import { dts } from "rolldown-plugin-dts";

const root = fileURLToPath(new URL("..", import.meta.url));
const dist = `${root}dist`;
const stage = `${dist}/stage`;

/** The entries of the package, by their place in src. */
const ENTRIES = {
  index: "index",
  redis: "stores/redis/index",
  sql: "stores/sql/index",
  mcp: "mcp/index",
  testing: "testing/index",
};

const { dependencies, peerDependencies } = JSON.parse(readFileSync(`${root}package.json`, "utf8"));
const installed = Object.keys({ ...dependencies, ...peerDependencies });
/** What an app has installed stays out of the bundle; all else is bundled. */
const isExternal = (id) => id.startsWith("node:") || installed.some((name) => id === name || id.startsWith(`${name}/`));

/** Everything that two entries share is one chunk: nothing is loaded twice, and no order of chunks can be wrong. */
const oneChunk = { name: "shared", test: (id) => !id.includes("\0"), minShareCount: 2 };
/** Declarations of zod, which compute the types of settings, stay apart from those that people read. */
const zodChunk = { name: "zod", test: /\/node_modules\/zod\// };

const inputs = (folder, ending) =>
  Object.fromEntries(Object.entries(ENTRIES).map(([name, path]) => [name, `${folder}/${path}${ending}`]));

/** Rolldown's warnings are errors here: each is a mistake of this file or of the source. */
function onLog(_level, log) {
  throw new Error(`rolldown: ${log.message}`);
}

/**
 * `core/dependencies.ts` loads packages with `require`, of which the source makes its own. CommonJS has one; rolldown
 * turns a literal call for a bundled package into a function that runs it. An ES module calls the `require` that a
 * bundler of an app puts there, which follows a literal call, and otherwise makes its own.
 */
function ownRequire(format) {
  const line = "const require = createRequire(import.meta.url);";
  const call = (name) =>
    `(typeof __REQUIRE__ === "function" && __REQUIRE__ !== globalThis.require ? __REQUIRE__("${name}") : createRequire(import.meta.url)("${name}"))`;
  return {
    name: "own-require",
    transform(code, id) {
      if (!id.endsWith("/core/dependencies.ts")) return null;
      if (!code.includes(line)) throw new Error("core/dependencies.ts has changed: the build must find its require.");
      const own = code.replace(line, "");
      if (format === "cjs") return { code: own, map: null };
      return {
        code: own.replace(/\brequire\("([^"]+)"\)/g, (text, name) => (isExternal(name) ? call(name) : text)),
        map: null,
      };
    },
    renderChunk: (code) => ({ code: code.replaceAll("__REQUIRE__", "require"), map: null }),
  };
}

async function bundleCode(format) {
  const bundle = await rolldown({
    input: inputs(`${root}src`, ".ts"),
    platform: "node",
    external: isExternal,
    plugins: [ownRequire(format)],
    tsconfig: false,
    onLog,
  });
  const { output } = await bundle.write({
    dir: `${dist}/${format}`,
    format,
    entryFileNames: "[name].js",
    chunkFileNames: "[name].js",
    // Jest cannot run `import()` in CommonJS.
    dynamicImportInCjs: false,
    codeSplitting: { groups: [oneChunk] },
    comments: { legal: false, annotation: true, jsdoc: false },
    minify: false,
  });
  await bundle.close();
  return output.flatMap((chunk) => (chunk.type === "chunk" ? Object.keys(chunk.modules) : []));
}

/** The licences of the bundled packages ask for their text in every copy. */
function writeLicences(modules) {
  const folders = modules.flatMap((id) => /^.*\/node_modules\/(?:@[^/]+\/)?[^/]+(?=\/)/.exec(id)?.[0] ?? []);
  const texts = [...new Set(folders)].sort().map((folder) => {
    const { name, version } = JSON.parse(readFileSync(`${folder}/package.json`, "utf8"));
    const file = readdirSync(folder).find((entry) => /^licen[cs]e(?:\.(?:md|txt))?$/i.test(entry));
    if (file === undefined) throw new Error(`${name} has no file with its licence.`);
    return `${name} ${version}\n\n${readFileSync(`${folder}/${file}`, "utf8").trim()}\n`;
  });
  const separator = `\n${"-".repeat(80)}\n\n`;
  writeFileSync(
    `${dist}/THIRD-PARTY-LICENSES.txt`,
    ["The code in this folder contains these packages.\n", ...texts].join(separator),
  );
}

async function compileDeclarations() {
  mkdirSync(stage, { recursive: true });
  writeFileSync(
    `${stage}/tsconfig.json`,
    JSON.stringify({
      extends: `${root}tsconfig.json`,
      compilerOptions: {
        noEmit: false,
        declaration: true,
        emitDeclarationOnly: true,
        // What is marked @internal is for other folders of src, not for apps.
        stripInternal: true,
        outDir: ".",
        rootDir: `${root}src`,
        paths: {},
      },
      include: [`${root}src`],
      exclude: [],
    }),
  );
  const tsc = spawn(process.execPath, [`${root}node_modules/typescript/bin/tsc`, "-p", stage], { stdio: "inherit" });
  const [status] = await once(tsc, "close");
  if (status !== 0) throw new Error("The source has type errors.");
}

/** Declarations for `import`: those for `require` have a syntax that cannot be bundled. */
const zodDeclarations = {
  name: "zod-declarations",
  resolveId: {
    order: "pre",
    handler(id, importer) {
      if (id === "zod") return `${root}node_modules/zod/index.d.ts`;
      const inside = id.startsWith(".") && importer?.includes("/node_modules/zod/");
      return inside ? join(dirname(importer), id.replace(/\.c?js$/, ".d.ts")) : null;
    },
  },
};

/**
 * The plugin puts some comments on the line of the code before or after them: there they document nothing, and
 * `@ts-ignore` has no effect.
 */
function ownLines(code) {
  return code
    .replace(/([;,{]) (\/\*\*[^\n]*\*\/)$/gm, "$1\n  $2")
    .replace(/(\/\*\* @ts-ignore [^\n]*?\*\/)/g, "\n$1\n");
}

/** The declarations hold those of bundled packages, so that an app needs neither these packages nor `@types`. */
async function bundleDeclarations() {
  const bundle = await rolldown({
    input: inputs(stage, ".d.ts"),
    platform: "node",
    external: isExternal,
    checks: { pluginTimings: false },
    plugins: [zodDeclarations, dts({ dtsOnly: true, tsconfig: false })],
    onLog,
  });
  for (const format of ["esm", "cjs"]) {
    const { output } = await bundle.write({
      dir: `${dist}/${format}`,
      format: "esm",
      entryFileNames: "[name].d.ts",
      chunkFileNames: "[name].d.ts",
      codeSplitting: { groups: [zodChunk, oneChunk] },
    });
    for (const { fileName, code } of output) writeFileSync(`${dist}/${format}/${fileName}`, ownLines(code));
  }
  await bundle.close();
}

rmSync(dist, { recursive: true, force: true });
const [esm, cjs] = await Promise.all([
  bundleCode("esm"),
  bundleCode("cjs"),
  compileDeclarations().then(bundleDeclarations),
]);
writeLicences([...esm, ...cjs]);
rmSync(stage, { recursive: true });
for (const [format, type] of Object.entries({ esm: "module", cjs: "commonjs" }))
  writeFileSync(`${dist}/${format}/package.json`, JSON.stringify({ type, sideEffects: false }));
