// One start: what the process needs to import its packages and to set up an app, without Node's own start.
import { createRequire } from "node:module";

const [contender, format] = process.argv.slice(2);
const require = createRequire(import.meta.url);
const load = async (name) => (format === "cjs" ? require(name) : import(name));
const defaultOf = (module) => module.default ?? module;

const HOSTS = { trustedHosts: ["api.example.com"] };
const SEVEN = {
  ...HOSTS,
  secretKey: "k3Vt9sQfYb2LxWn8RzGj5HdPm7CuTa4E",
  cors: { origins: ["https://app.example.com"], credentials: true },
  session: {},
  apiKeys: {},
  jwt: {},
};

const CONTENDERS = {
  express: async () => undefined,
  peers: async (app) => {
    const [helmet, cors, limit, session] = await Promise.all(
      ["helmet", "cors", "express-rate-limit", "express-session", "jsonwebtoken", "argon2"].map(load),
    );
    app.use(defaultOf(helmet)(), defaultOf(cors)({ origin: "https://app.example.com" }));
    app.use(defaultOf(limit)({ validate: false }));
    app.use(defaultOf(session)({ secret: SEVEN.secretKey, resave: false, saveUninitialized: false }));
  },
  hosts: async (app) => (await load("portcullis")).applySecurity(app, HOSTS),
  seven: async (app) => (await load("portcullis")).applySecurity(app, SEVEN),
  ready: async (app) => (await load("portcullis")).applySecurity(app, SEVEN).ready(),
};

const before = process.cpuUsage();
const from = performance.now();
const app = defaultOf(await load("express"))();
await CONTENDERS[contender](app);
const ms = performance.now() - from;
const { user, system } = process.cpuUsage(before);
process.stdout.write(
  JSON.stringify({ cpuMs: (user + system) / 1000, ms, residentMb: process.memoryUsage.rss() / 1e6 }),
);
process.exit(0);
