// Loaded before the test suite of Express: see README.md.
const http = require("node:http");
const Module = require("node:module");
const path = require("node:path");

const BUILT = path.join(__dirname, "../../dist/cjs");
const { applySecurity } = require(path.join(BUILT, "index.js"));
// Not exported by the package.
const { serverClasses } = require("tsx/cjs/api").require("../../src/server/classes.ts", __filename);

/** `debug` is refused in production, which one test pretends to be. */
const basic = () => ({ debug: process.env.NODE_ENV !== "production", trustedHosts: false });
const SETTINGS = {
  /** Every protection off that adds to an answer or refuses one: what is left is how requests are handled. */
  secured: () => ({ ...basic(), headers: false, rateLimit: false, csrf: false }),
  /** All that an app of any host can have. Sessions are off, as some apps of the suite bring express-session. */
  protected: () => ({
    ...basic(),
    secretKey: "kZ3vQ8sW1xY6bN0mR4tU7pL2cD5fG9hJ-express-suite",
    cors: { origins: ["https://app.example"], credentials: true },
    rateLimit: { limit: 1_000_000 },
    apiKeys: {},
    jwt: {},
  }),
};
const settings = SETTINGS[process.env.EXPRESS_SUITE];
/** The security of each app. */
const securities = new WeakMap();
let servers = 0;

const isApp = (value) => typeof value === "function" && typeof value.handle === "function" && "request" in value;

const { createServer } = http;
http.createServer = function createTestServer(...args) {
  const app = args.find(isApp);
  const [options] = args;
  // By `listen` of a secured app, the server has the classes already.
  if (app === undefined || Object.hasOwn(options, "IncomingMessage")) return createServer.apply(http, args);
  servers += 1;
  const security = securities.get(app);
  if (security === undefined) return createServer.call(http, { ...options, ...serverClasses(app) }, app);
  http.createServer = createServer;
  try {
    return security.createServer(options === app ? {} : options);
  } finally {
    http.createServer = createTestServer;
  }
};
process.on("exit", () => process.stderr.write(`${servers} servers had the classes of their app\n`));

if (settings !== undefined) {
  const entry = path.resolve("lib/express.js");
  const load = Module._load;
  let secured;
  Module._load = function loadSecured(request, parent, ...rest) {
    const loaded = load.call(this, request, parent, ...rest);
    if (!/express$/.test(request) || Module._resolveFilename(request, parent) !== entry) return loaded;
    secured ??= securedFactory(loaded);
    return secured;
  };
}

/** `express()` that secures each app it creates. */
function securedFactory(express) {
  function createApplication() {
    const app = express();
    securities.set(app, applySecurity(app, settings()));
    return app;
  }
  for (const name of Reflect.ownKeys(express)) {
    if (!Object.hasOwn(createApplication, name))
      Object.defineProperty(createApplication, name, Object.getOwnPropertyDescriptor(express, name));
  }
  return createApplication;
}
