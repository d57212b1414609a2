import type { IRateLimiterOptions, RateLimiterStoreAbstract } from "rate-limiter-flexible";
import type { Limiter } from "./index.js";

/** A limiter for rate-limiter-flexible. */
export class RateLimiterRedisRl extends RateLimiterStoreAbstract {
  constructor(options: IRateLimiterOptions & { limiter: Limiter });
}
