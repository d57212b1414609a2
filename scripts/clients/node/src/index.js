// Rate limits, quotas and leases by redis-rl, a module of Redis and Valkey.
export { Caller } from "./caller.js";
export { bucket, hold, lease, window } from "./commands.js";
export { Outage } from "./failure.js";
export { Limiter } from "./limiter.js";
export { Local } from "./local.js";
export { Denied, HoldEnded } from "./reserve.js";
export { NoSlot, SlotLost } from "./slot.js";
