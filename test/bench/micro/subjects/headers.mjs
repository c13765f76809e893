// Writing the security headers: our layer, helmet with the same values, and the loop that neither can be faster than.
import { IncomingMessage, ServerResponse } from "node:http";
import helmet from "helmet";
import { built } from "../support/built.mjs";
import { interleave, median } from "../support/interleave.mjs";
import { short, spread, table, title } from "../support/table.mjs";

const { securityHeaders } = await built("headers/middleware.js");

const BATCH = 200;
const next = () => undefined;

/** A request as Express hands it on, as far as the headers look at it. */
class FakeRequest extends IncomingMessage {
  secure = true;
}

/**
 * Node's own response, so that headers are checked and kept as in a server; nothing is ever sent. A class for each row, as our
 * layer puts its guard on the prototype of the responses it meets.
 */
function responseClass() {
  return class FakeResponse extends ServerResponse {
    locals = Object.create(null);
  };
}

const ours = securityHeaders();
const written = headersAfter(ours);
const policy = Object.fromEntries(
  written["content-security-policy"].split(";").map((directive) => {
    const [name, ...sources] = directive.trim().split(" ");
    return [name, sources];
  }),
);
/** What its documentation says to do for these headers; Permissions-Policy it does not know, so the app sets it itself. */
const theirs = helmet({
  contentSecurityPolicy: { useDefaults: false, directives: policy },
  strictTransportSecurity: { maxAge: 31_536_000, includeSubDomains: true },
  referrerPolicy: { policy: written["referrer-policy"] },
  xFrameOptions: { action: written["x-frame-options"].toLowerCase() },
  xDnsPrefetchControl: false,
  xDownloadOptions: false,
  xPermittedCrossDomainPolicies: false,
  originAgentCluster: false,
});
const permissions = written["permissions-policy"];
function helmetAndPermissions(req, res, done) {
  theirs(req, res, () => {
    res.setHeader("Permissions-Policy", permissions);
    done();
  });
}
const lines = Object.entries(written);
function byHand(req, res, done) {
  for (const [name, value] of lines) res.setHeader(name, value);
  res.removeHeader("X-Powered-By");
  done();
}
function readsNonce(req, res, done) {
  ours(req, res, done);
  return res.locals.cspNonce;
}
const defaults = helmet();

for (const [name, middleware] of Object.entries({ helmetAndPermissions, byHand })) {
  if (normal(headersAfter(middleware)) !== normal(written)) throw new Error(`${name} writes other headers than we do`);
}

title(
  `Headers: nanoseconds for each response (${lines.length} headers)`,
  "On a response of node:http that is never sent. *Net* is without making the request and the response (the first row).",
);
const measured = await interleave([
  row("request and response alone", (req, res, done) => done()),
  row("portcullis", ours),
  row("portcullis, nonce read", readsNonce),
  row("helmet, the same headers", helmetAndPermissions),
  row("helmet, its defaults", defaults),
  row("lower bound: setHeader in a loop", byHand),
]);
const bare = measured[0].nanoseconds;
const net = measured.map(({ nanoseconds }) => nanoseconds.map((value, round) => value - bare[round]));
table(
  ["", "ns (least–most)", "net ns", "net, of helmet with the same headers"],
  measured.map(({ name, nanoseconds }, index) => [
    name,
    spread(nanoseconds),
    index === 0 ? "" : short(median(net[index])),
    index === 0 ? "" : short(median(net[index].map((value, round) => value / net[3][round]))),
  ]),
);

function row(name, middleware) {
  const FakeResponse = responseClass();
  return {
    name,
    operations: BATCH,
    run() {
      for (let i = 0; i < BATCH; i += 1) {
        const req = new FakeRequest(null);
        middleware(req, new FakeResponse(req), next);
      }
    },
  };
}

function headersAfter(middleware) {
  const FakeResponse = responseClass();
  const req = new FakeRequest(null);
  const res = new FakeResponse(req);
  middleware(req, res, next);
  return Object.fromEntries(Object.entries(res.getHeaders()));
}

/** Names and values in order, without the white space in which the writers of a policy differ. */
function normal(headers) {
  return JSON.stringify(
    Object.entries(headers)
      .map(([name, value]) => [name, String(value).replaceAll("; ", ";")])
      .sort(),
  );
}
