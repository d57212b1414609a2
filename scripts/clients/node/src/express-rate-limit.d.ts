import type { Limiter } from "./index.js";

/** A store for express-rate-limit. */
export class Store {
  constructor(limiter: Limiter, options?: { prefix?: string });
  prefix: string;
  localKeys: boolean;
  init(options: { windowMs: number }): void;
  increment(key: string): Promise<{ totalHits: number; resetTime: Date }>;
  get(key: string): Promise<{ totalHits: number; resetTime: Date } | undefined>;
  decrement(key: string): Promise<void>;
  resetKey(key: string): Promise<void>;
}
