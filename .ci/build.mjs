// Builds dist from the source. TypeScript checks it and writes its declarations; rolldown bundles code and declarations.
//
// The code is CommonJS: one main file, and one for each part that an app may leave off, which is loaded when it is first
// used. `applySecurity` is synchronous, and an ES module cannot be loaded synchronously. The ES modules in dist/esm export
// what the CommonJS entries export. So a class is one class, whichever entry and format it comes from.
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
  accounts: "accounts/index",
  testing: "testing/index",
};

const { dependencies, peerDependencies } = JSON.parse(readFileSync(`${root}package.json`, "utf8"));
const installed = Object.keys({ ...dependencies, ...peerDependencies });
/** What an app has installed stays out of the bundle; all else is bundled. */
const isExternal = (id) => id.startsWith("node:") || installed.some((name) => id === name || id.startsWith(`${name}/`));

/** All declarations that two entries share. */
const oneChunk = { name: "shared", test: (id) => !id.includes("\0"), minShareCount: 2 };
/** Declarations of zod, which compute the types of settings, stay apart from those that people read. */
const zodChunk = { name: "zod", test: /\/node_modules\/zod\// };

const inputs = (folder, ending) =>
  Object.fromEntries(Object.entries(ENTRIES).map(([name, path]) => [name, `${folder}/${path}${ending}`]));

/** Rolldown's warnings are errors here: each is a mistake of this file or of the source. */
function onLog(_level, log) {
  throw new Error(`rolldown: ${log.message}`);
}

/** The parts that an app may leave off, by the place of their modules. */
const PARTS = {
  "api-key": /\/src\/(?:api-key\/|stores\/memory\/(?:api-key-|key-|sorted-))/,
  "common-passwords": /\/src\/accounts\/passwords\/common-list\./,
  cors: /\/src\/cors\//,
  // What every kind of credential needs.
  credentials:
    /\/src\/(?:guards\.|settings\/(?:identity|secrets)\.|stores\/(?:in-turns|json|records|session-record)\.|core\/bounded-cache\.|stores\/health\/(?!backend\.))|\/node_modules\/lru-cache\//,
  database: /\/src\/stores\/(?:database\/(?!url\.)|sql\/errors\.)/,
  // Tokens of other issuers.
  issuers: /\/src\/(?:jwt\/issuers\/|core\/http\/fetch-text\.)/,
  environment: /\/src\/app-settings\/environment\./,
  jwt: /\/src\/(?:jwt\/|stores\/memory\/token-)/,
  // Failed log-ins.
  "log-in-limits": /\/src\/rate-limit\/login-(?:account|counters|guard|settings)\./,
  origins: /\/src\/(?:core\/http\/origin|settings\/origin-pattern)\./,
  redis: /\/src\/stores\/redis\//,
  revocations: /\/src\/stores\/revocations\//,
  session: /\/src\/(?:csrf\/|session\/(?!log-in\.)|stores\/memory\/session-)/,
  // Small parts of packages.
  "json-schema": /\/node_modules\/zod\/v4\/core\/(?:json-schema-processors|to-json-schema)\./,
  jose: /\/node_modules\/jose\//,
  "public-suffixes": /\/node_modules\/tldts\//,
};
/** What only one entry exports stays in its file. */
const ENTRY_ONLY =
  /\/src\/(?:(?:accounts(?!\/passwords\/common-list\.)|mcp|testing|stores\/sql)\/(?!errors\.)|stores\/memory\/(?:credential|single-use)-)/;

/** The file of a module: a part, or main for all that the first entry exports and for all that every app needs. */
function partOf(id, graph) {
  if (id.includes("\0") || ENTRY_ONLY.test(id) || graph.getModuleInfo(id).isEntry) return null;
  const isExported = graph.getModuleInfo(`${root}src/index.ts`).importedIds.includes(id);
  if (isExported && graph.getModuleInfo(id).exports.some((name) => /^[A-Z]/.test(name))) return "main";
  return Object.keys(PARTS).find((part) => PARTS[part].test(id)) ?? "main";
}

/** `core/dependencies.ts` loads packages with a `require` that it makes. CommonJS has one, whose calls rolldown follows. */
const ownRequire = {
  name: "own-require",
  transform(code, id) {
    if (!id.endsWith("/core/dependencies.ts")) return null;
    const line = "const require = createRequire(import.meta.url);";
    if (!code.includes(line)) throw new Error("core/dependencies.ts has changed: the build must find its require.");
    return { code: code.replace(line, ""), map: null };
  },
};

/**
 * How one file loads another: a part when something of it is first used, main at once. No file changes what it exports, so
 * properties and constants take the place of getters, which are slower in every request.
 */
function linkFiles(code, isFirstEntry) {
  const used = new Set();
  const loads = [];
  const linked = code
    .replace(/^const (require_\w+) = (require\("[^"]+\/([\w-]+)\.js"\));\n/gm, (line, name, load, part) => {
      if (!Object.hasOwn(PARTS, part)) return line;
      loads.push(`\t#${name};\n\tget ${name}() {\n\t\treturn (this.#${name} ??= ${load});\n\t}`);
      return "";
    })
    .replace(
      /^Object\.defineProperty\(exports, "(.+)", \{\s+enumerable: true,\s+get: .+\s+return (.+);\s+\}\s+\}\);$/gm,
      "exports.$1 = $2;",
    )
    .replace(/\brequire_main\.([\w$]+)/g, (_text, name) => (used.add(name), `main$${name}`))
    .replace(
      /\brequire_main(?= = require)/,
      () => `{ ${[...used].map((name) => `${name}: main$${name}`).join(", ")} }`,
    );
  if (loads.length === 0) return linked;
  const parts = `"use strict";\nconst parts$ = new (class {\n${loads.join("\n")}\n})();\n`;
  const lazy = linked.replace(/\brequire_\w+(?=\.)/g, (name) =>
    parts.includes(`#${name};`) ? `parts$.${name}` : name,
  );
  return (
    parts +
    (isFirstEntry
      ? lazy.replace(EXPORTED_FUNCTION, "exports.$1 = function $1(...given) {\n\treturn $2(...given);\n};")
      : lazy)
  );
}

/** A function of a part: an ES module cannot export a name without its value, and the value would load the part. */
const EXPORTED_FUNCTION = /^exports\.([a-z]\w+) = (parts\$\..+);$/gm;

/** A character outside Latin-1 doubles the memory that a file takes, and the time to read it. */
const inAscii = (code) =>
  code.replace(/[^\x00-\x7f]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);

const finish = {
  name: "finish",
  renderChunk: (code, { name }) => ({ code: inAscii(linkFiles(code, name === "index")), map: null }),
};

/** The list of common passwords as text: the package that it is made from has much else in it. */
async function commonPasswords() {
  const bundle = await rolldown({ input: `${root}src/${COMMON_LIST}`, platform: "node", tsconfig: false, onLog });
  const { output } = await bundle.write({ file: `${dist}/common-list.mjs`, format: "esm" });
  await bundle.close();
  const { COMMON } = await import(`${dist}/common-list.mjs`);
  rmSync(`${dist}/common-list.mjs`);
  return { code: `export const COMMON = ${JSON.stringify(COMMON)};`, modules: modulesOf(output) };
}

const COMMON_LIST = "accounts/passwords/common-list.ts";

const modulesOf = (output) => output.flatMap((chunk) => (chunk.type === "chunk" ? Object.keys(chunk.modules) : []));

async function bundleCode() {
  const common = await commonPasswords();
  const madeList = { name: "common-passwords", load: (id) => (id.endsWith(COMMON_LIST) ? common.code : null) };
  const bundle = await rolldown({
    input: inputs(`${root}src`, ".ts"),
    platform: "node",
    external: isExternal,
    preserveEntrySignatures: "allow-extension",
    plugins: [madeList, ownRequire, finish],
    tsconfig: false,
    onLog,
  });
  const { output } = await bundle.write({
    dir: `${dist}/cjs`,
    format: "cjs",
    strict: true,
    entryFileNames: "[name].js",
    chunkFileNames: "parts/[name].js",
    // Jest cannot run `import()` in CommonJS.
    dynamicImportInCjs: false,
    codeSplitting: { includeDependenciesRecursively: false, groups: [{ name: partOf, debugName: "parts" }] },
    comments: { legal: false, annotation: true, jsdoc: false },
    minify: false,
  });
  await bundle.close();
  mkdirSync(`${dist}/esm`, { recursive: true });
  for (const { fileName, isEntry, exports } of output)
    if (isEntry)
      writeFileSync(
        `${dist}/esm/${fileName}`,
        `import entry from "../cjs/${fileName}";\n\nexport const { ${exports.join(", ")} } = entry;\n`,
      );
  return [...modulesOf(output), ...common.modules];
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
const [modules] = await Promise.all([bundleCode(), compileDeclarations().then(bundleDeclarations)]);
writeLicences(modules);
rmSync(stage, { recursive: true });
for (const [format, type] of Object.entries({ esm: "module", cjs: "commonjs" }))
  writeFileSync(`${dist}/${format}/package.json`, JSON.stringify({ type, sideEffects: false }));
