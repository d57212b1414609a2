import type { IncomingMessage } from "node:http";

/** `source`: "memory" if a denial by the server was remembered, "local" if the bucket in this process decided, "policy" if `onError` did, "batch" if `Local` spent its batch. */
export interface Decision {
  allowed: boolean;
  limit: number;
  remaining: number;
  /** Denied: retry after this time, null means never. Allowed: wait this long, then go on (0 except with `maxwaitMs`). */
  retryAfterMs: number | null;
  resetAfterMs: number;
  taken: number;
  source: "server" | "memory" | "local" | "policy" | "batch";
}

export interface Decisions {
  allowed: boolean;
  retryAfterMs: number | null;
  each: Decision[];
  taken: number;
}

export interface Leases {
  held: number;
  limit: number;
  remaining: number;
  retryAfterMs: number | null;
  resetAfterMs: number;
  tokens: { token: string; leftMs: number }[];
}

/** 10 is ten a second; "100/m", "1/15m". */
export type Rate = string | number;
export type Cost = { cost?: number };
export type Keep = { keep?: number };
export interface Limit {
  key: string;
  named: (string | number)[];
  words: (string | number)[];
  cost?: number;
}

/** `state`: 1 if this call settled, 0 if another one had, -1 if nothing is known about the id. `each`: charged, negative if refunded. */
export interface Settlement {
  state: number;
  each: number[];
}

export interface Holds {
  open: number;
  overdue: number;
  holds: { id: string; leftMs: number; charge: boolean; held: Record<string, number> }[];
}

export interface Reservation {
  readonly id: string;
  /** What the body used, by key: charged even if the body throws. Without it: the cost, or 0 if the body throws. */
  used: Record<string, number>;
  /** Whether a repeat was denied: a lease ended, or what was refunded did not fit any more. It is settled either way. */
  readonly denied: boolean;
  /** Aborted if somebody else settled the hold. */
  readonly signal: AbortSignal;
}

export interface LimiterOptions {
  /** For a call (50). Time in which the process was busy with other things does not count. */
  timeoutMs?: number;
  /** What an outage means for `take`: the bucket in this process decides, or all are allowed, or denied ("local"). */
  onError?: "local" | "open" | "closed";
  /** Of the limit, what the bucket in this process admits: with four processes, 0.25 (1). */
  share?: number;
  /** Calls that wait for the server at once; more wait for their turn (64). */
  inFlight?: number;
  /** "lua": where the server lacks the module, `take`, `peek` and `give` are scripts (null). */
  fallback?: "lua" | null;
  log?: { warn(text: string): void; error(text: string): void };
}

/** Limits by a client of node-redis or ioredis, of one server or a cluster. */
export class Limiter {
  constructor(client: object, options?: LimiterOptions);
  take(key: string, rate: Rate, burst: number, options?: Cost & Keep & { atmost?: boolean; maxwaitMs?: number; force?: boolean }): Promise<Decision>;
  peek(key: string, rate: Rate, burst: number, options?: Cost): Promise<Decision>;
  give(key: string, rate: Rate, burst: number, options?: Cost): Promise<number>;
  mtake(buckets: [key: string, rate: Rate, burst: number][], options?: Cost): Promise<Decisions>;
  wtake(key: string, limit: number, window: string, options?: Cost & Keep & { atmost?: boolean; force?: boolean }): Promise<Decision>;
  wpeek(key: string, limit: number, window: string, options?: Cost): Promise<Decision>;
  wgive(key: string, limit: number, window: string, options?: Cost & { at?: number }): Promise<number>;
  acquire(key: string, limit: number, ttlMs: number, token: string, options?: Keep): Promise<Decision>;
  renew(key: string, ttlMs: number, ...tokens: string[]): Promise<number>;
  release(key: string, ...tokens: string[]): Promise<number>;
  leases(key: string, limit: number, options?: { count?: number }): Promise<Leases>;
  all(...limits: Limit[]): Promise<Decisions>;
  /** Holds one of `limit` slots while `body` runs. Throws NoSlot or SlotLost. With `waitMs` the server lets it wait in line. */
  slot<T>(
    key: string,
    limit: number,
    ttlMs: number,
    options: Keep & { token?: string; waitMs?: number },
    body: (signal: AbortSignal) => Promise<T>,
  ): Promise<T>;
  settle(settled: [limit: Limit, used: number][]): Promise<Settlement>;
  holds(key: string, options?: { count?: number }): Promise<Holds>;
  /** Charges an estimate while `body` runs, and settles `used`. Throws Denied or HoldEnded. */
  reserve<T>(
    limits: Limit[],
    options: { holds: string; ttlMs: number; id?: string; charge?: boolean },
    body: (reservation: Reservation) => Promise<T>,
  ): Promise<T>;
  check(key?: string): Promise<boolean>;
  readonly counts: {
    answered: number;
    fromMemory: number;
    outages: number;
    mistakes: number;
    late: number;
    localAllowed: number;
    localDenied: number;
  };
  close(): void;
}

/** Takes batches by a limiter, and spends them in this process. */
export class Local {
  constructor(limiter: Limiter);
  take(key: string, rate: Rate, burst: number, options?: Cost): Promise<Decision>;
  check(key?: string): Promise<boolean>;
  /** Refunds every batch. */
  close(): Promise<void>;
}

export function bucket(key: string, rate: Rate, burst: number, options?: Cost & Keep): Limit;
export function window(key: string, limit: number, window: string, options?: Cost & Keep): Limit;
export function lease(key: string, limit: number, ttlMs: number, token: string, options?: Keep & { once?: boolean }): Limit;
/** Records what `all` charges, until `settle`. Nobody settles: refunded after its ttl, or with `charge` not. */
export function hold(key: string, ttlMs: number, id: string, options?: { charge?: boolean }): Limit;

export interface CallerOptions {
  /** Such as "X-Api-Key". Its value is hashed. Check it before the limiter does. */
  header?: string;
  /** Proxies whose X-Forwarded-For is believed: networks, and "unix" for a Unix socket. */
  trusted?: string[];
  ipv6Prefix?: number;
  prefix?: string;
}

/** Names who is charged: the header, if the request has one, otherwise the address. */
export class Caller {
  constructor(options?: CallerOptions);
  keyOf(request: IncomingMessage): string;
  key(peer: string | undefined | null, forwarded?: string[], header?: string[]): string;
  readonly prefix: string;
}

/** The server did not answer, or could not. It may have charged the call. */
export class Outage extends Error {}

/** All slots are held. */
export class NoSlot extends Error {
  readonly decision: Decision;
}

/** A limit denies, and nothing is charged. */
export class Denied extends Error {
  readonly decisions: Decisions;
  /** The keys whose limits deny. */
  readonly keys: string[];
}

/** Somebody else settled the hold. */
export class HoldEnded extends Error {}

/** The slot ended while the body ran: somebody else may hold it. */
export class SlotLost extends Error {}

export interface MiddlewareOptions<Request> {
  rate: Rate;
  burst: number;
  key?: Caller | ((request: Request) => string | Promise<string>);
  skip?: (request: Request) => boolean | Promise<boolean>;
  cost?: number | ((request: Request) => number | Promise<number>);
  /** Whether pages of another origin may read the fields (true). */
  expose?: boolean;
}
