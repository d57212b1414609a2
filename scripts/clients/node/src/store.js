// Windows of the server as counters, for packages that count hits themselves.

const most = 10 ** 11; // The largest limit of a window: a counter alone has none.
const forever = 36_500 * 86_400_000; // The longest duration of a window.

export class Counters {
  #limiter;

  constructor(limiter) {
    this.#limiter = limiter;
  }

  // Counts hits, in a window that begins with the first.
  async add(key, hits, windowMs) {
    return state(await this.#limiter.wtake(key, most, `${windowMs || forever}ms`, { cost: hits, force: true }));
  }

  // Takes hits back, at most down to none.
  async remove(key, hits) {
    await this.#limiter.wgive(key, most, "1ms", { cost: hits });
  }

  // Returns what was counted. What is stored keeps its own end, whatever window a call names.
  async get(key) {
    return state(await this.#limiter.wpeek(key, most, "1ms"));
  }

  // Forgets all hits. Returns whether there were any.
  async clear(key) {
    return (await this.#limiter.wgive(key, most, "1ms", { cost: most })) > 0;
  }
}

const state = ({ remaining, resetAfterMs }) => ({ hits: most - remaining, resetAfterMs });
