//! `RL.INSPECT key`: what a key holds, without its limit.

use redis_rl_limits::bounds::NANOS_PER_MILLI;
use redis_rl_limits::kinds::stored::Stored;

use super::command::{Answer, Command, KEY, LEASES_VERSION};
use super::error::Error;
use super::lease::look::Look;
use super::lease::waiting;
use super::several::holds::Listed;
use crate::server::{Access, Argument, Call, Description, Keys, Refusal, Type};

/// The command.
pub struct Inspect;

/// Its reply.
pub struct Report {
    kind: &'static str,
    len: usize,
    ttl_ms: i64,
    /// The fields of that kind.
    fields: Fields,
}

/// Names and values.
type Fields = Vec<(&'static str, i64)>;

/// `ttl_ms` of a key that does not expire.
const NO_EXPIRY: i64 = -1;
/// `ttl_ms` if there is no key.
const NO_KEY: i64 = -2;

impl Report {
    /// There is no key.
    const NONE: Self = Self {
        kind: "none",
        len: 0,
        ttl_ms: NO_KEY,
        fields: Fields::new(),
    };
}

impl Command for Inspect {
    const DESCRIPTION: Description = Description {
        name: c"RL.INSPECT",
        since: LEASES_VERSION,
        access: Access::List,
        keys: Keys::First,
        summary:
            c"Returns what a key holds, without needing its limit and without changing anything.",
        complexity: c"O(1), for leases O(log(N)) and for holds O(N) where N is the number of members or records",
        arguments: &[KEY],
        tips: Some(c"nondeterministic_output"),
    };
    const SYNTAX: &'static str = "RL.INSPECT key";
    type Answer = Report;

    fn run<'a>(call: &mut Call<'a>) -> Result<Report, Error<'a>> {
        let [key] = call.arguments() else {
            return Err(Error::Usage(Self::SYNTAX));
        };
        let Some(outline) = call.outline(key) else {
            return Ok(Report::NONE);
        };
        let found = match outline.kind {
            Type::String if Stored::is_size(outline.len) => {
                match call.peek(key, Stored::is_size) {
                    Ok(Some(copy)) => string(copy.bytes(), call.now()),
                    // The key expired just now.
                    Ok(None) => return Ok(Report::NONE),
                    Err(Refusal::ReadFailed) => return Err(Error::ReadFailed(key.bytes())),
                    Err(_) => None,
                }
            }
            Type::SortedSet => leases(call, key),
            Type::Hash => holds(call, key),
            Type::String | Type::Other => None,
        };
        let (kind, fields) = found.unwrap_or(("other", Fields::new()));
        let now_ms = i64::try_from(call.now() / NANOS_PER_MILLI).unwrap_or(i64::MAX);
        let left_ms = |at: i64| at.saturating_sub(now_ms).max(0);
        Ok(Report {
            kind,
            len: outline.len,
            ttl_ms: outline.expires_at.map_or(NO_EXPIRY, left_ms),
            fields,
        })
    }
}

/// Returns the kind of limit that a string holds at `now`, with its fields; `None` if it holds none.
fn string(bytes: &[u8], now: u64) -> Option<(&'static str, Fields)> {
    Some(match Stored::from_bytes(bytes)? {
        Stored::Bucket(bucket) => (
            "bucket",
            vec![
                ("tokens", bucket.tokens()),
                ("updated_ms", bucket.updated_ms()),
            ],
        ),
        Stored::Window(window) => (
            "window",
            vec![
                ("used", signed(window.used())),
                ("start_ms", window.start_ms()),
                ("end_ms", window.end_ms()),
            ],
        ),
        Stored::Sliding(sliding) => (
            "sliding",
            vec![
                ("window_ms", signed(sliding.window_ms())),
                ("used", signed(sliding.used_at(now))),
            ],
        ),
    })
}

/// Returns the fields of a sorted set of leases; `None` if it is another sorted set.
fn leases(call: &mut Call<'_>, key: &Argument<'_>) -> Option<(&'static str, Fields)> {
    let waiting = waiting::queue_length(call.db(), key.bytes());
    let mut look = Look::at(call, key).ok()?;
    let [first_end_ms, last_end_ms] = look.ends_ms();
    // The marker is one of the members that do not count.
    let dead = look.held.dead.saturating_sub(1);
    let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    Some((
        "leases",
        vec![
            ("held", count(look.held.live)),
            ("dead", count(dead)),
            ("waiting", count(waiting)),
            ("first_end_ms", first_end_ms),
            ("last_end_ms", last_end_ms),
        ],
    ))
}

/// Returns the fields of a hash of holds; `None` if it is another hash.
fn holds<'a>(call: &mut Call<'a>, key: &Argument<'a>) -> Option<(&'static str, Fields)> {
    let holds = Listed::of(call, key, 1).ok()?;
    Some((
        "holds",
        vec![
            ("open", holds.open),
            ("overdue", holds.overdue),
            ("remembered", holds.remembered),
            ("first_deadline_ms", holds.first_deadline().unwrap_or(0)),
        ],
    ))
}

fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

impl Answer for Report {
    fn send(&self, call: &Call<'_>) {
        let len = i64::try_from(self.len).unwrap_or(i64::MAX);
        call.reply_map(self.fields.len().saturating_add(3));
        call.reply_bytes(b"kind");
        call.reply_bytes(self.kind.as_bytes());
        let common = [("bytes", len), ("ttl_ms", self.ttl_ms)];
        for (name, value) in common.iter().chain(&self.fields) {
            call.reply_bytes(name.as_bytes());
            call.reply_integer(*value);
        }
    }
}
