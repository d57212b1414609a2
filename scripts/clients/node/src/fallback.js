// Buckets by a script, for servers that load no modules. They have keys of their own.

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { parseRate } from "./rate.js";

const text = readFileSync(new URL("bucket.lua", import.meta.url), "utf8");
const sha = createHash("sha1").update(text).digest("hex");
const calls = new Set(["RL.TAKE", "RL.PEEK", "RL.GIVE"]);
const missing = /unknown command|not available|not supported|unsupported command/i;

// Chooses between a command and its script. Once the server has refused a command that it does not know, the
// script is sent until the process ends: a bucket in each place would admit twice.
export class Fallback {
  #kind;
  #log;
  isUsed = false;

  constructor(kind, log) {
    if (kind !== null && kind !== "lua") throw new RangeError(`fallback must be null or "lua", not ${kind}`);
    this.#kind = kind;
    this.#log = log;
  }

  // Sends the words of a command by `send(key, words)`. A call that was refused has charged nothing.
  async send(key, words, send) {
    if (this.#kind === null || !calls.has(words[0])) return send(key, words);
    if (!this.isUsed) {
      try {
        return await send(key, words);
      } catch (error) {
        if (!missing.test(error.message)) throw error;
        if (!this.isUsed) this.#log.warn(`rate limiter: the module is missing, so buckets are scripts: ${error.message}`);
        this.isUsed = true;
      }
    }
    const own = `${key}:lua`;
    try {
      return await send(own, scriptWords(own, words, "EVALSHA", sha));
    } catch (error) {
      if (!error.message.startsWith("NOSCRIPT")) throw error;
      return send(own, scriptWords(own, words, "EVAL", text));
    }
  }
}

// Returns a call of RL.TAKE, RL.PEEK or RL.GIVE as a call of the script.
export function scriptWords(own, [name, , rate, burst, ...options], command, script) {
  const given = { COST: "1", KEEP: "0", MAXWAIT: "0" };
  let mode = "";
  for (let n = 0; n < options.length; n++) {
    const word = options[n];
    if (word !== "COST" && word !== "KEEP") mode = word;
    if (word in given) given[word] = options[++n];
  }
  const { tokens, periodMs } = parseRate(rate);
  const limit = [String(tokens), String(periodMs), burst, given.COST, given.KEEP];
  return [command, script, "1", own, name.slice(3), ...limit, mode, given.MAXWAIT];
}
