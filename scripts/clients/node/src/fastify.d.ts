import type { Limiter, MiddlewareOptions } from "./index.js";

export function rateLimit(fastify: any, options: MiddlewareOptions<any> & { limiter: Limiter }): Promise<void>;
