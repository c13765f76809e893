import { execFile, execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { cp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { ROOT } from "../../support/code-blocks.js";

/** The result of a command. */
export interface Run {
  readonly status: number;
  readonly output: string;
}

let packed: { readonly tarball: string; readonly files: readonly string[] } | undefined;

/** The tarball that npm would publish, made once; the build is that of the test run. */
export function pack(): { readonly tarball: string; readonly files: readonly string[] } {
  if (packed === undefined) {
    const folder = mkdtempSync(join(tmpdir(), "portcullis-tarball-"));
    process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
    const args = ["pack", "--json", "--ignore-scripts", "--pack-destination", folder];
    const text = execFileSync("npm", args, { cwd: ROOT, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
    const [{ filename, files }] = JSON.parse(text.replace(/^[^[]*/, "")) as [
      { filename: string; files: { path: string }[] },
    ];
    packed = { tarball: join(folder, filename), files: files.map(({ path }) => path) };
  }
  return packed;
}

/** The project of a user in an empty folder: the packed tarball, and packages beside it. */
export class Project {
  readonly folder = mkdtempSync(join(tmpdir(), "portcullis-user-"));

  /** @param type the module format of its `.js` and `.ts` files */
  constructor(type: "module" | "commonjs") {
    this.write("package.json", JSON.stringify({ name: "user", private: true, type }));
  }

  /** Installs the tarball and packages, from npm's cache where it has them. */
  async install(...packages: readonly string[]): Promise<void> {
    const args = ["install", "--no-audit", "--no-fund", "--prefer-offline", pack().tarball, ...packages];
    const { status, output } = await this.run("npm", args);
    if (status !== 0) throw new Error(`npm install failed: ${output}`);
  }

  /** Begins with the packages of another project, so that an install only brings what differs. */
  async takePackagesOf(other: Project): Promise<void> {
    for (const name of ["node_modules", "package.json", "package-lock.json"])
      await cp(join(other.folder, name), join(this.folder, name), { recursive: true, verbatimSymlinks: true });
  }

  write(path: string, content: string): void {
    const file = join(this.folder, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, content);
  }

  /** Runs a command in the folder; a file of `node_modules/.bin` by its name. */
  run(command: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Run> {
    // A test runner inside this one must not take its settings.
    const inherited = Object.entries(process.env).filter(
      ([name]) => !/^(?:NODE_OPTIONS|NODE_ENV|VITEST.*)$/.test(name),
    );
    const variables = Object.fromEntries(inherited);
    const path = `${join(this.folder, "node_modules/.bin")}:${process.env.PATH}`;
    return new Promise((resolve) => {
      execFile(
        command,
        args,
        {
          cwd: this.folder,
          encoding: "utf8",
          timeout: 300_000,
          maxBuffer: 2 ** 26,
          env: { ...variables, PATH: path, ...env },
        },
        (error, stdout, stderr) =>
          resolve({ status: error === null ? 0 : Number(error.code ?? 1), output: stdout + stderr }),
      );
    });
  }

  /** Folders below node_modules that are this package. */
  copiesOf(name: string): string[] {
    const all = readdirSync(join(this.folder, "node_modules"), { recursive: true, encoding: "utf8" });
    return all.filter((path) => path === name || path.endsWith(`node_modules/${name}`)).sort();
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}
