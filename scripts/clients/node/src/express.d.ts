import type { IncomingMessage, ServerResponse } from "node:http";
import type { Limiter, MiddlewareOptions } from "./index.js";

export function rateLimit<Request extends IncomingMessage = any>(
  limiter: Limiter,
  options: MiddlewareOptions<Request>,
): (request: Request, response: ServerResponse, next: (error?: unknown) => void) => Promise<void>;
