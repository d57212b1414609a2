//! An account of every token: compares the tokens that clients received from each bucket with those
//! missing in the server's buckets. Both must be equal.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use redis::Value;

use crate::support::windows;
use crate::windows::Stored;

/// Buckets in each database.
pub const BUCKETS: usize = 8;
/// Windows behind them, half of them sliding, that do not end while a test runs.
pub const WINDOWS: usize = 4;
/// Both.
pub const LIMITS: usize = BUCKETS + WINDOWS;
/// Tokens that come back in a second.
pub const RATE: i64 = 100_000;
/// Begun empty, a bucket is full after a quarter of an hour: none is while a test runs.
pub const BURST: i64 = 100_000_000;

const NANOS: i128 = 1_000_000_000;
const ONE_TOKEN: i128 = 1 << 24;

/// A set of buckets between two flushes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Account {
    pub epoch: u64,
    pub side: u8,
}

/// A marker in a database that identifies the owner of its buckets. All markers differ, so
/// everything between two readings of the same marker happened under it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sign {
    pub account: Account,
    pub serial: u64,
}

impl Sign {
    /// The key that holds it.
    pub const KEY: &'static str = "account";

    pub fn to_text(self) -> String {
        let Account { epoch, side } = self.account;
        format!("{epoch}:{side}:{}", self.serial)
    }

    /// Parses the reply to a reading of the marker; `None` if it was refused.
    pub fn read(reply: &Value) -> Option<Self> {
        let Value::BulkString(bytes) = reply else {
            assert_refused(reply);
            return None;
        };
        let text = std::str::from_utf8(bytes).expect("text");
        let mut numbers = text.split(':').map(|n| n.parse::<u64>().expect("a number"));
        let mut next = || numbers.next().expect("three numbers");
        let (epoch, side, serial) = (next(), next(), next());
        let side = side.try_into().expect("0 or 1");
        Some(Self {
            account: Account { epoch, side },
            serial,
        })
    }
}

/// Checks that it is a reply of a disturbed server that means "not done".
pub fn assert_refused(reply: &Value) {
    let code = match reply {
        Value::ServerError(error) => error.code(),
        _ => "",
    };
    let known = ["BUSY", "EXECABORT", "LOADING"].contains(&code);
    assert!(known, "a wrong reply: {reply:?}");
}

/// The clients' knowledge of one bucket.
#[derive(Clone, Copy, Default)]
struct Tally {
    /// Tokens received for certain, minus those refunded.
    sure: i64,
    /// Tokens that they may have had, without an answer.
    more: i64,
    /// Tokens that may have been refunded, without a reply.
    less: i64,
}

/// The limit of every window: never reached.
pub const LIMIT: i64 = 100_000_000_000;

/// Returns a window's key and its form in a call, by its number among all limits.
pub fn window(n: usize) -> (String, &'static str) {
    let window = if n.is_multiple_of(2) {
        "30d"
    } else {
        "SLIDING 30d"
    };
    (format!("window:{n}"), window)
}

/// A client's knowledge of every limit.
#[derive(Default)]
pub struct Book {
    tallies: HashMap<Account, [Tally; LIMITS]>,
}

impl Book {
    /// Records tokens that were taken (negative: refunded).
    pub fn sure(&mut self, account: Account, bucket: usize, tokens: i64) {
        self.tallies.entry(account).or_default()[bucket].sure += tokens;
    }

    /// Records tokens that may have been taken or refunded in one of these epochs.
    pub fn doubt(&mut self, epochs: &RangeInclusive<u64>, bucket: usize, tokens: i64) {
        for epoch in epochs.clone() {
            for side in [0, 1] {
                let tallies = self.tallies.entry(Account { epoch, side }).or_default();
                let tally = &mut tallies[bucket];
                tally.more += tokens.max(0);
                tally.less -= tokens.min(0);
            }
        }
    }

    /// Adds what another client knows.
    pub fn add(&mut self, other: Self) {
        for (account, theirs) in other.tallies {
            let ours = self.tallies.entry(account).or_default();
            for (ours, theirs) in ours.iter_mut().zip(theirs) {
                ours.sure += theirs.sure;
                ours.more += theirs.more;
                ours.less += theirs.less;
            }
        }
    }
}

/// The stored state of a limit.
#[derive(Clone, Copy, Debug)]
pub enum Level {
    /// Nanoseconds since 1970, and the level in units of 2^-24 tokens.
    Bucket { at: u64, units: i64 },
    /// Tokens that are used.
    Window(i64),
}

impl Level {
    /// Parses the reply of `GET`.
    pub fn read(reply: &Value) -> Self {
        let Value::BulkString(bytes) = reply else {
            panic!("no limit: {reply:?}");
        };
        if let Some(window) = Stored::read(bytes) {
            return Self::Window(windows::used_of(&window));
        }
        let (at, units) = bytes.split_at(8);
        Self::Bucket {
            at: u64::from_le_bytes(at.try_into().expect("8 bytes")),
            units: i64::from_le_bytes(units.try_into().expect("8 bytes")),
        }
    }
}

/// The limits of one account: buckets, then windows.
pub type Levels = [Level; LIMITS];

/// The state of the server's buckets, account by account.
#[derive(Default)]
pub struct Ledger {
    opened: HashMap<Account, Levels>,
    closed: HashMap<Account, Levels>,
}

/// The result of an audit.
#[derive(Debug, Default)]
pub struct Audit {
    pub limits: usize,
    /// Those without a call in doubt.
    pub without_doubt: usize,
    pub tokens: i64,
    pub in_doubt: i64,
}

impl Ledger {
    pub fn open(&mut self, account: Account, levels: Levels) {
        self.opened.insert(account, levels);
    }

    pub fn close(&mut self, account: Account, levels: Levels) {
        self.closed.insert(account, levels);
    }

    /// Checks that every account matches the clients' book.
    pub fn audit(&self, book: &Book) -> Audit {
        let mut audit = Audit::default();
        assert_eq!(self.opened.len(), self.closed.len());
        for (account, opened) in &self.opened {
            let closed = &self.closed[account];
            let tallies = book.tallies.get(account).copied().unwrap_or_default();
            for n in 0..LIMITS {
                let (tally, taken) = (tallies[n], taken(opened[n], closed[n]));
                let accepted = tally.sure - tally.less..=tally.sure + tally.more;
                assert!(
                    accepted.contains(&taken),
                    "limit {n} of {account:?} lacks {taken} tokens, not {accepted:?}"
                );
                audit.limits += 1;
                audit.without_doubt += usize::from(accepted.start() == accepted.end());
                audit.tokens += taken;
                audit.in_doubt += tally.more + tally.less;
            }
        }
        audit
    }
}

/// Tokens taken between the two: what was there and what flowed in, less what is left. Each write
/// may lose less than a unit by rounding, and all of an account together less than a token.
fn taken(opened: Level, closed: Level) -> i64 {
    let (since, before, until, after) = match (opened, closed) {
        (Level::Window(before), Level::Window(after)) => return after - before,
        (
            Level::Bucket { at, units },
            Level::Bucket {
                at: until,
                units: after,
            },
        ) => (at, units, until, after),
        changed => panic!("another kind: {changed:?}"),
    };
    let nanos = i128::from(until) - i128::from(since);
    let difference = i128::from(before) - i128::from(after);
    let units = difference * NANOS + i128::from(RATE) * ONE_TOKEN * nanos;
    let tokens = units.div_euclid(NANOS * ONE_TOKEN);
    tokens.try_into().expect("a number of tokens")
}
