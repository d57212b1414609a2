//! The accepted ranges, and the constants and roundings that all kinds of limit share.
//!
//! Each bound may be changed by itself. Arithmetic that relies on bounds states what it assumes as a
//! `const` assertion next to it, so a bound that breaks an assumption does not compile.

/// Bits of a token's fraction: levels of a bucket are in units of 2^-24 token.
pub const UNIT_BITS: u32 = 24;

/// The largest burst of a bucket, in tokens.
pub const MAX_BURST: u64 = 100_000_000_000;
/// The largest debt of a bucket, in tokens.
pub const MAX_DEBT: u64 = 100_000_000_000;
/// The largest limit of a window.
pub const MAX_LIMIT: u64 = 100_000_000_000;
/// The largest usage of a window: a limit, and as much again by FORCE.
pub const MAX_USED: u64 = 2 * MAX_LIMIT;
/// The largest cost of a call, also the largest amount that a settlement leaves charged.
pub const MAX_COST: u64 = 100_000_000_000;
/// The largest reserve of a call, in tokens.
pub const MAX_KEEP: u64 = 100_000_000_000;
/// The fastest rate, in tokens per second.
pub const MAX_RATE: u64 = 1_000_000_000_000;
/// The longest MAXWAIT in milliseconds, about 31 years.
pub const MAX_WAIT_MS: u64 = 1_000_000_000_000;
/// The longest time to fill a bucket, and the longest window, in years of 365.25 days.
pub const MAX_YEARS: u64 = 100;
/// The earliest AT, in milliseconds since 1970 (in 1973). A current time in seconds is below it.
pub const MIN_AT_MS: u64 = 100_000_000_000;
/// The latest AT, in the year 5138. A current time in microseconds is above it.
pub const MAX_AT_MS: u64 = 100_000_000_000_000;
/// The most limits in a call. It bounds the call's memory and time.
pub const MAX_LIMITS: u64 = 128;

/// The fill time of a bucket, or the time until the last lease of a set has ended, divided by the time
/// that its key may live longer.
pub const SLACK_PARTS: u64 = 16;

/// Nanoseconds in a millisecond.
pub const NANOS_PER_MILLI: u64 = 1_000_000;
/// Nanoseconds in a second.
pub const NANOS_PER_SECOND: u64 = 1_000_000_000;
/// Milliseconds in a second.
pub const MILLIS_PER_SECOND: u64 = 1_000;
/// Milliseconds in a minute.
pub const MILLIS_PER_MINUTE: u64 = 60 * MILLIS_PER_SECOND;
/// Milliseconds in an hour.
pub const MILLIS_PER_HOUR: u64 = 60 * MILLIS_PER_MINUTE;
/// Milliseconds in a day.
pub const MILLIS_PER_DAY: u64 = 24 * MILLIS_PER_HOUR;
/// [`MAX_YEARS`] in milliseconds.
pub const MAX_YEARS_MS: u64 = MAX_YEARS * (365 * MILLIS_PER_DAY + 6 * MILLIS_PER_HOUR);

/// The member, with score 0, that identifies a sorted set of leases.
pub const MARKER: &[u8] = b"rl:leases";

/// The largest limit.
pub const MAX_SLOTS: u64 = 100_000;
/// The shortest lease, in milliseconds.
pub const MIN_TTL_MS: u64 = 10;
/// The longest lease, in days.
pub const MAX_TTL_DAYS: u64 = 30;
/// [`MAX_TTL_DAYS`] in milliseconds.
pub const MAX_TTL_MS: u64 = MAX_TTL_DAYS * MILLIS_PER_DAY;
/// The longest token, in bytes.
pub const MAX_TOKEN_LEN: usize = 128;
/// The most tokens in a call.
pub const MAX_TOKENS_A_CALL: usize = 128;
/// Maximum number of different rooms among the waiters of a key: bounds a scan over the rooms.
pub const MAX_ROOMS: usize = 64;
/// Maximum number of waiters that one command or timer run serves for a key: bounds its time.
pub const MAX_GRANTS: usize = 128;
/// Maximum number of callers that may wait for a key with the same token: one command answers them all, so this
/// bounds its time.
pub const MAX_SAME_TOKEN: usize = 16;
/// The longest wait for a slot, in milliseconds: one hour.
pub const MAX_SLOT_WAIT_MS: u64 = MILLIS_PER_HOUR;
/// Maximum number of callers that may wait for a slot, in all and for one key.
pub const MAX_WAITERS: u64 = 100_000;
/// The longest name of a key for whose slots callers may wait, in bytes. The timer copies the names and looks
/// them up again and again, and their memory is not the server's.
pub const MAX_WAITED_NAME: usize = 1024;
/// The default number of leases that RL.LEASES returns.
pub const LEASES_TOLD: u64 = 100;

/// The field by which a hash is known to hold the records of holds.
pub const HOLDS_MARKER: &[u8] = b"rl:holds";
/// Maximum number of records in a holds key.
pub const MAX_HOLDS: u64 = 10_000;
/// The shortest time until an unsettled hold is overdue, in milliseconds.
pub const MIN_HOLD_TTL_MS: u64 = MILLIS_PER_SECOND;
/// The longest time until an unsettled hold is overdue, in hours.
pub const MAX_HOLD_TTL_HOURS: u64 = 24;
/// [`MAX_HOLD_TTL_HOURS`] in milliseconds.
pub const MAX_HOLD_TTL_MS: u64 = MAX_HOLD_TTL_HOURS * MILLIS_PER_HOUR;
/// Maximum number of buckets and windows in a call with a hold.
pub const MAX_HELD_LIMITS: usize = 16;
/// Maximum length of their keys' names together, in bytes.
pub const MAX_HELD_NAMES: usize = 1024;
/// Time for which a settled or closed id is remembered, and an overdue hold at least, in
/// milliseconds.
pub const HOLD_MINUTE_MS: i64 = MILLIS_PER_MINUTE as i64;
/// Time for which an overdue hold is remembered once everything was refunded, in milliseconds.
pub const REFUNDED_HOLD_MS: i64 = MILLIS_PER_HOUR as i64;
/// The shortest time between two walks over the records of a holds key, in milliseconds.
pub const WALK_INTERVAL_MS: i64 = MILLIS_PER_SECOND as i64;
/// Maximum number of holds that one walk refunds, and of records that it drops.
pub const MAX_WALKED: usize = 1000;
/// Number of holds that RL.HOLDS returns by default.
pub const DEFAULT_LISTED_HOLDS: u64 = 100;

/// Converts nanoseconds to milliseconds, rounded up.
pub fn ceil_millis(nanos: u64) -> i64 {
    saturating_i64(nanos.div_ceil(NANOS_PER_MILLI))
}

/// Converts nanoseconds to milliseconds, rounded down.
pub fn floor_millis(nanos: u64) -> u64 {
    nanos / NANOS_PER_MILLI
}

/// Converts to an `i64`, or returns the largest one.
pub fn saturating_i64(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
