import type { Limiter, Local, MiddlewareOptions } from "./index.js";

export function rateLimit(fastify: any, options: MiddlewareOptions<any> & { limiter: Limiter | Local }): Promise<void>;
