import { createHash } from "node:crypto";
import { type LuaEngine, LuaFactory } from "wasmoon";
import { REDIS_COMMANDS } from "./redis-commands.js";

export type Reply = string | number | null | Error | Reply[];

export interface Served {
  readonly reply: Reply;
  /** What was published meanwhile. */
  readonly published: readonly { readonly channel: string; readonly message: string }[];
}

const SEPARATOR = "\u001e";

/** The data of a Redis server, and its commands and scripts. It has no time of its own, and nothing goes wrong in it. */
export class RedisEngine {
  readonly #lua: LuaEngine;

  private constructor(lua: LuaEngine) {
    this.#lua = lua;
  }

  /** Compiling WebAssembly takes real time, so not within a run of the simulation. */
  static async create(): Promise<RedisEngine> {
    const lua = await new LuaFactory().createEngine({ injectObjects: false });
    lua.doStringSync(REDIS_COMMANDS);
    return new RedisEngine(lua);
  }

  /** @param microseconds the time of the server */
  serve(microseconds: number, ...words: readonly string[]): Served {
    const parts = this.#call("serve", String(microseconds), ...words).split(SEPARATOR);
    const reply = readReply(parts);
    const published = parts.flatMap((channel, at) => (at % 2 === 0 ? [{ channel, message: parts[at + 1] ?? "" }] : []));
    return { reply, published };
  }

  /** EVAL, which is EVALSHA from then on. */
  serveSource(microseconds: number, source: string, ...words: readonly string[]): Served {
    const sha = createHash("sha1").update(source).digest("hex");
    this.#call("learn", sha, source);
    return this.serve(microseconds, "EVALSHA", sha, ...words);
  }

  forgetScripts(): void {
    this.#call("forgetScripts");
  }

  forgetData(): void {
    this.#call("forgetData");
  }

  keys(): readonly string[] {
    const text = this.#call("keys");
    return text === "" ? [] : text.split(SEPARATOR);
  }

  /** Calls a function with texts, and returns its text. By the interface of Lua in C: the one of the package takes five times as long. */
  #call(name: string, ...words: readonly string[]): string {
    const { lua, address } = this.#lua.global;
    // Lua has room for 20 values unless asked for more, and checks nothing.
    lua.lua_checkstack(address, words.length + 1);
    lua.lua_getglobal(address, name);
    for (const word of words) lua.lua_pushlstring(address, word, Buffer.byteLength(word));
    const failed = lua.lua_pcallk(address, words.length, 1, 0, 0, null) > 0;
    const answer = lua.lua_tolstring(address, -1, null);
    lua.lua_settop(address, 0);
    if (failed) throw new Error(answer);
    return answer;
  }
}

/** Takes one reply from the front of the parts. */
function readReply(parts: string[]): Reply {
  const part = parts.shift() ?? "_";
  const value = part.slice(1);
  switch (part[0]) {
    case ":":
      return Number(value);
    case "$":
      return value;
    case "-":
      return new Error(value);
    case "*":
      return Array.from({ length: Number(value) }, () => readReply(parts));
    default:
      return null;
  }
}
