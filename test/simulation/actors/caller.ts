import { Random } from "../world/random.js";
import { pause } from "../world/virtual-time.js";
import type { Answer, Question } from "../world/ask.js";
import type { Exchange, World } from "../world/world.js";

/** More than any trouble of the simulation lasts. */
const TRIES = 15;

type Options = Partial<Pick<Question, "headers" | "body">> & {
  readonly address?: string;
  readonly at?: number;
  readonly client?: string;
  readonly during?: string;
};

/** The last answer, and the refusals before it. */
export interface Tried {
  readonly last: Exchange;
  readonly refused: Exchange[];
}

/** Somebody who sends requests. What it decides comes from its own stream. */
export class Caller {
  readonly world: World;
  readonly name: string;
  readonly address: string;
  readonly random: Random;
  /** The step it is at. An operation is named by it, so that trying again shifts no later one. */
  protected turn = 0;
  readonly #sent = new Map<string, number>();

  constructor(world: World, name: string, address: string) {
    this.world = world;
    this.name = name;
    this.address = address;
    this.random = new Random(`${world.seed}/${name}/decisions`);
  }

  /** One request to one of the processes: a random one, unless `at` says which. `during` names what is done beside the steps. */
  send(
    step: string,
    method: Question["method"],
    path: string,
    { headers, body, address = this.address, at, client, during }: Options = {},
  ): Promise<Exchange> {
    const turn = `${this.name}/${during ?? this.turn}`;
    const count = (this.#sent.get(turn) ?? 0) + 1;
    this.#sent.set(turn, count);
    const id = `${turn}.${count}`;
    const to = at ?? new Random(`${this.world.seed}/${id}/process`).between(0, 1);
    const question: Question = {
      method,
      path,
      address,
      ...(headers === undefined ? {} : { headers }),
      ...(body === undefined ? {} : { body }),
    };
    return this.world.ask(id, step, to, question, client);
  }

  /** Sends the same request until it is not refused with 503. */
  persist(send: () => Promise<Exchange>, waitMs = 1000): Promise<Tried> {
    return this.#repeat(send, ({ status }) => (status === 503 ? waitMs : undefined));
  }

  /**
   * The same for one who in a storm may also be refused with 429, because the network it is in floods while Redis is down. It
   * waits as long as it is told.
   */
  outlastFlood(send: () => Promise<Exchange>): Promise<Tried> {
    return this.#repeat(send, ({ status, headers }) => {
      if (status === 503) return 1000;
      const seconds = Number(headers["retry-after"]);
      return status === 429 && this.world.weather === "storm" && seconds > 0 ? seconds * 1000 : undefined;
    });
  }

  /** @param waitOf how long to wait after an answer; `undefined` when it is not a refusal */
  async #repeat(send: () => Promise<Exchange>, waitOf: (answer: Answer) => number | undefined): Promise<Tried> {
    const refused: Exchange[] = [];
    for (;;) {
      const last = await send();
      const waitMs = waitOf(last.answer);
      if (waitMs === undefined || refused.length + 1 >= TRIES) return { last, refused };
      refused.push(last);
      await pause(waitMs);
    }
  }

  violation(invariant: string, what: string): void {
    this.world.violation(invariant, `${this.name} ${what}`);
  }
}
