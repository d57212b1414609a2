// A limiter on the user's own connection. Each call is sent once, in bounded time and number.

import { commands } from "./commands.js";
import { connection } from "./connection.js";
import { Fallback } from "./fallback.js";
import { Outage, Policy, isOutage } from "./failure.js";
import { parseRate } from "./rate.js";
import { reserve } from "./reserve.js";
import { slot } from "./slot.js";

// Parts of a time-out. Each counts as its nominal length even if the process was busy with other things
// meanwhile: what counts is the time in which it could have read the reply.
const ticks = 5;
const longest = 20; // Time-outs after which the place of a call without an answer is free again.
const queue = 10; // Time-outs that a call waits for its turn at most, while others are answered.

export class Limiter {
  #connection;
  #fallback;
  #policy;
  #timeoutMs;
  #inFlight;
  #running = 0;
  #promised = 0;
  #stuck = 0;
  #answers = 0;
  #waiting = [];

  constructor(client, options = {}) {
    const { timeoutMs = 50, onError = "local", share = 1, inFlight = 64, fallback = null, log = console } = options;
    if (!(timeoutMs > 0)) throw new RangeError(`timeoutMs must be above 0, not ${timeoutMs}`);
    if (!(Number.isInteger(inFlight) && inFlight > 0)) {
      throw new RangeError(`inFlight must be a whole number above 0, not ${inFlight}`);
    }
    this.#policy = new Policy(onError, share, log);
    this.#fallback = new Fallback(fallback, log);
    this.#timeoutMs = timeoutMs;
    this.#inFlight = inFlight;
    this.#connection = connection(client, this.#givenUpMs);
    for (const [name, command] of Object.entries(commands)) {
      if (name !== "take") this[name] = (...args) => this.#run(command(...args));
    }
  }

  // Takes `cost` tokens or none (RL.TAKE), by the policy where the server does not answer.
  async take(key, rate, burst, options = {}) {
    const { cost = 1, keep = 0, atmost = false, maxwaitMs, force = false } = options;
    const maxwait = maxwaitMs !== undefined;
    const parsed = typeof rate === "object" ? rate : parseRate(rate);
    const ask = { key, rate: parsed, burst, cost, keep, atmost, force, maxwait };
    const denied = this.#policy.remembered(ask);
    if (denied) return denied;
    try {
      return await this.#run(commands.take(key, rate, burst, options), ask);
    } catch (error) {
      if (error instanceof Outage) return this.#policy.decide(ask);
      throw error;
    }
  }

  // Decides by the policy about a take that is not sent.
  decide(ask, reason) {
    this.#policy.outage(new Outage(reason));
    return this.#policy.decide(ask);
  }

  // Time that a call waits for its turn at most.
  get longestTurnMs() {
    return queue * this.#timeoutMs;
  }

  // Throws if the server lacks the module or the permission. Returns whether it answered; an outage is
  // only logged.
  async check(key = "limit:check") {
    try {
      await this.#run(commands.take(key, 1000, 1));
      return true;
    } catch (error) {
      if (error instanceof Outage) return false;
      throw error;
    }
  }

  // Holds one of `limit` slots while `body(signal)` runs. Throws NoSlot if all are held; with `waitMs` the server
  // lets the caller wait that long, in line. Renews it at a third of the ttl. If it is lost, aborts the signal
  // and throws SlotLost. Options: token, keep, waitMs.
  async slot(key, limit, ttlMs, options, body) {
    return slot(this.#sender(), key, limit, ttlMs, options, body);
  }

  // Charges an estimate while `body(reservation)` runs, and settles `reservation.used`, an amount for each key. Throws
  // Denied if a limit denies. Repeats the call at a third of the ttl. A body that throws is settled with
  // 0; a limit without an entry in `used`, with its cost. Options: holds, ttlMs, id, charge.
  async reserve(limits, options, body) {
    return reserve(this.#sender(), limits, options, body);
  }

  #sender() {
    return {
      run: (call, timeoutMs) => this.#run(call, undefined, timeoutMs),
      runWaiting: (call, waitMs) => this.#runWaiting(call, waitMs),
      timeoutMs: this.#timeoutMs,
    };
  }

  // What was answered, decided without the server, and failed so far.
  get counts() {
    return this.#policy.counts;
  }

  // Closes the connection that was opened in addition to one of ioredis; never the user's own.
  close() {
    this.#connection.close();
  }

  get #givenUpMs() {
    return Math.max(1000, longest * this.#timeoutMs);
  }

  // Sends a call that the server answers late, on a connection of its own: what is sent behind it waits too.
  async #runWaiting(call, waitMs) {
    const own = await this.#connection.another();
    let timer;
    const late = new Promise((_, reject) => {
      const longest = waitMs + Math.max(1000, this.#timeoutMs);
      timer = setTimeout(() => reject(new Outage(`no answer within ${longest} ms`)), longest);
    });
    try {
      return await this.#reported(() => Promise.race([this.#send(call, undefined, own.send), late]));
    } finally {
      clearTimeout(timer);
      own.close();
    }
  }

  #run(call, ask, timeoutMs = this.#timeoutMs) {
    return this.#reported(() => this.#bounded(call, ask, timeoutMs));
  }

  async #reported(send) {
    try {
      return await send();
    } catch (error) {
      if (isOutage(error)) throw this.#policy.outage(error);
      this.#policy.mistake(error);
      throw error;
    }
  }

  async #bounded(call, ask, timeoutMs) {
    if (this.#stuck >= this.#inFlight) throw this.#allStuck();
    if (this.#running + this.#promised >= this.#inFlight) {
      const denied = await this.#turn(ask);
      if (denied) return denied;
    }
    return this.#answer(call, ask, timeoutMs);
  }

  // Waits for a turn, while the server answers others. Returns a denial learnt meanwhile.
  async #turn(ask) {
    const turn = { granted: false, wake() {} };
    this.#waiting.push(turn);
    const began = performance.now();
    let silent = 0;
    let used = false;
    try {
      for (;;) {
        const seen = this.#answers;
        if (!turn.granted) await new Promise((resolve) => this.#wakeWithin(resolve, turn));
        const denied = ask && this.#policy.remembered(ask);
        if (denied) return denied;
        if (turn.granted) {
          used = true;
          return null;
        }
        if (this.#stuck >= this.#inFlight) throw this.#allStuck();
        silent = this.#answers === seen ? silent + 1 : 0;
        if (silent >= ticks || performance.now() - began > this.longestTurnMs) {
          throw new Outage(`no turn among ${this.#inFlight} calls within ${this.#timeoutMs} ms`);
        }
      }
    } finally {
      if (turn.granted) {
        this.#promised--;
        if (!used) this.#next();
      } else {
        this.#waiting.splice(this.#waiting.indexOf(turn), 1);
      }
    }
  }

  #wakeWithin(resolve, turn) {
    const timer = setTimeout(resolve, this.#timeoutMs / ticks);
    turn.wake = () => {
      clearTimeout(timer);
      resolve();
    };
  }

  // Gives a free place to the one that has waited longest.
  #next() {
    if (this.#waiting.length === 0 || this.#running + this.#promised >= this.#inFlight) return;
    const turn = this.#waiting.shift();
    this.#promised++;
    turn.granted = true;
    turn.wake();
  }

  #answer(call, ask, timeoutMs) {
    this.#running++;
    return new Promise((resolve, reject) => {
      let left = ticks;
      let isLate = false;
      let ended = false;
      const end = () => {
        if (ended) return;
        ended = true;
        clearTimeout(timer);
        this.#running--;
        if (isLate) this.#stuck--;
        this.#next();
      };
      const tick = () => {
        left--;
        if (left > 0) {
          timer = setTimeout(tick, timeoutMs / ticks);
          return;
        }
        isLate = true;
        this.#stuck++;
        this.counts.late++;
        timer = setTimeout(end, this.#givenUpMs);
        timer.unref();
        reject(new Outage(`no answer within ${timeoutMs} ms`));
      };
      let timer = setTimeout(tick, timeoutMs / ticks);
      this.#send(call, ask).then(resolve, reject).finally(end);
    });
  }

  async #send(call, ask, send = this.#connection.send) {
    const { prefix } = this.#connection;
    const named = (key) => prefix + key;
    const sent = performance.now();
    // node-redis takes strings only.
    const words = call.words(named).map(String);
    const value = call.read(await this.#fallback.send(named(call.key), words, send));
    this.#answers++;
    this.counts.answered++;
    if (ask) this.#policy.answered(ask, sent, value);
    return value;
  }

  #allStuck() {
    return new Outage(`${this.#inFlight} calls wait for a reply for more than ${this.#timeoutMs} ms`);
  }
}
