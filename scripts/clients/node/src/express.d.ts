import type { IncomingMessage, ServerResponse } from "node:http";
import type { Limiter, Local, MiddlewareOptions } from "./index.js";

export function rateLimit<Request extends IncomingMessage = any>(
  limiter: Limiter | Local,
  options: MiddlewareOptions<Request>,
): (request: Request, response: ServerResponse, next: (error?: unknown) => void) => Promise<void>;
