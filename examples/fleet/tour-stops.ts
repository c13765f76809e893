import type { Answer, Guide, Stop } from "./tour.js";
import { outages } from "./tour-outages.js";
import { fromBoth, me, ordersByKey, ordersByToken, stop } from "./tour-parts.js";

const LIMIT = 20;
const left = ({ headers }: Answer): number => Number(/"greeting";r=(\d+)/.exec(String(headers.ratelimit))?.[1]);

async function makeKey(guide: Guide, name: string): Promise<{ key: string; id: string }> {
  const made = await guide.send({
    method: "POST",
    path: "/api-keys",
    headers: { Cookie: guide.memory.cookie },
    body: JSON.stringify({ name, scopes: ["orders"] }),
  });
  guide.promiseStatus("a key is made, and shown this once", 201, made);
  const { key, record } = JSON.parse(made.text) as { key: string; record: { id: string } };
  return { key, id: record.id };
}

const together: readonly Stop[] = [
  stop("Two processes answer in turn", async (guide) => {
    const answers = await guide.sendToBoth({ path: "/" });
    guide.promise("both answer", fromBoth(answers) && answers.every(({ status }) => status === 200));
  }),
  stop(`One limit: ${LIMIT} greetings a minute for each address, whichever process is asked`, async (guide) => {
    const first: Answer[] = [];
    for (let n = 0; n < 4; n += 1) first.push(await guide.send({ path: "/greeting" }, ["RateLimit"]));
    const falls = first.every((answer, n) => left(answer) === LIMIT - 1 - n);
    guide.promise(
      `what is left ("greeting"; r) falls by one with each request, over both: ${first.map((answer) => `${left(answer)} by ${answer.servedBy}`).join(", ")}`,
      falls && fromBoth(first),
    );
    const burst = await Promise.all(Array.from({ length: 40 }, () => guide.ask({ path: "/greeting" })));
    const accepted = burst.filter(({ status }) => status === 200).length;
    const refused = burst.filter(({ status }) => status === 429).length;
    guide.says(`> GET /greeting, 40 times at once`);
    guide.says(`< 200 ×${accepted}, 429 ×${refused}`);
    guide.promise(`of all 44 exactly ${LIMIT} are accepted`, accepted === LIMIT - 4 && refused === 40 - accepted);
    const spoofed = await guide.send({ path: "/greeting", headers: { "X-Forwarded-For": "203.0.113.9" } }, [
      "Retry-After",
    ]);
    guide.promiseStatus("claiming another address is no way around: the app takes what its proxy saw", 429, spoofed);
  }),
  stop("A session begun at one process works at the other", async (guide) => {
    const began = await guide.send({ method: "POST", path: "/log-in", body: '{"username":"ada"}' }, ["Set-Cookie"]);
    guide.promiseStatus("ada is logged in", 200, began);
    guide.memory.cookie = began.headers["set-cookie"]?.[0]?.split(";")[0] ?? "";
    guide.memory.begunAt = began.servedBy;
    const answers = await guide.sendToBoth(me(guide));
    guide.promise(
      "both know ada",
      fromBoth(answers) && answers.every(({ status, text }) => status === 200 && text.includes('"ada"')),
    );
  }),
  stop("An access token issued by one is accepted by the other, and refreshed by either", async (guide) => {
    const issued = await guide.send({ method: "POST", path: "/token", headers: { Cookie: guide.memory.cookie } });
    const { refreshToken } = JSON.parse(issued.text) as { refreshToken: string };
    const refreshed = await guide.send({
      method: "POST",
      path: "/tokens/refresh",
      body: JSON.stringify({ refreshToken }),
    });
    guide.promise(
      "one issues, the other refreshes",
      fromBoth([issued, refreshed]) && issued.status === 200 && refreshed.status === 200,
    );
    guide.memory.accessToken = (JSON.parse(refreshed.text) as { accessToken: string }).accessToken;
    const answers = await guide.sendToBoth(ordersByToken(guide));
    guide.promise("both accept the new one", fromBoth(answers) && answers.every(({ status }) => status === 200));
  }),
  stop("An API key made through one works at the other", async (guide) => {
    const { key } = await makeKey(guide, "kept");
    guide.memory.apiKey = key;
    const answers = await guide.sendToBoth(ordersByKey(key));
    guide.promise("both accept it", fromBoth(answers) && answers.every(({ status }) => status === 200));
  }),
  stop("An API key revoked at one is refused by the other within a second", async (guide) => {
    const { key, id } = await makeKey(guide, "to be revoked");
    guide.memory.revokedKey = key;
    const before = await guide.sendToBoth(ordersByKey(key));
    guide.promise(
      "both accept it, and remember it for ten seconds",
      fromBoth(before) && before.every(({ status }) => status === 200),
    );
    const revoked = await guide.send({
      method: "DELETE",
      path: `/api-keys/${id}`,
      headers: { Cookie: guide.memory.cookie },
    });
    const refusedBy = new Set<string>();
    let accepted = 0;
    const { isSo, ms } = await guide.until(async () => {
      const { status, servedBy } = await guide.ask(ordersByKey(key));
      if (status === 200) accepted += 1;
      else if (status === 401) refusedBy.add(servedBy);
      return refusedBy.size === 2;
    }, 1);
    const after = await guide.sendToBoth(ordersByKey(key));
    guide.promise(
      `${revoked.servedBy} revoked it; ${ms.toFixed(0)} ms later both had refused it, and accepted it ${accepted} times in between`,
      revoked.status === 204 && isSo && ms < 1000 && after.every(({ status }) => status === 401),
    );
  }),
];

export const stops: readonly Stop[] = [...together, ...outages];
