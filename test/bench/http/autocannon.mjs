// The load where wrk is not installed. It costs more processor itself, so the server gets fewer requests a second.
import autocannon from "autocannon";

const { port, ask, seconds, connections } = JSON.parse(process.argv[2]);
const { method, path, headers, addresses = 1 } = ask;
const requests = Array.from({ length: addresses }, (_, n) => ({
  method,
  path,
  headers: addresses > 1 ? { ...headers, "X-Forwarded-For": `203.0.113.${n + 1}` } : headers,
}));
const result = await autocannon({ url: `http://127.0.0.1:${port}`, connections, duration: seconds, requests });
process.stdout.write(
  JSON.stringify({
    requests: result.requests.total,
    refused: result["4xx"] + result["5xx"],
    failed: result.errors + result.timeouts,
  }),
);
