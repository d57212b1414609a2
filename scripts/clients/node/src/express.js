// Middleware for Express, Connect, and whatever else takes (req, res, next) of node:http.
//
// Put it after the CORS middleware, or a 429 lacks the fields of CORS, and the page sees only a network
// error. A mistake goes to next(error).

import { middleware, refusal } from "./middleware.js";

export function rateLimit(limiter, options) {
  const { checkKey, decide } = middleware(limiter, options);
  checkOnce(limiter, checkKey);
  return async function rateLimit(request, response, next) {
    let decided;
    try {
      decided = await decide(request, request);
    } catch (error) {
      return next(error);
    }
    if (!decided) return next();
    for (const [name, value] of decided.fields) response.appendHeader(name, value);
    if (decided.decision.allowed) return next();
    const [status, body] = refusal(decided.decision);
    response.statusCode = status;
    response.setHeader("Content-Type", "text/plain; charset=utf-8");
    response.end(body);
  };
}

// Asks the server once it answers, so that a mistake is logged at start.
function checkOnce(limiter, key) {
  limiter.check(key).then(
    (answered) => {
      if (!answered) setTimeout(checkOnce, 1000, limiter, key).unref();
    },
    () => {}, // It is logged.
  );
}
