//! The page's view of the whole demo: 15 minutes of its own counters, and recently denied callers.

use std::cmp::Reverse;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use redis::RedisError;
use serde_json::{json, Value};
use tokio::sync::watch;

use crate::census::{Census, Offender};
use crate::limiter::{Fail, Limiter};
use crate::metrics::get;
use crate::store::StoreError;

/// Between two samples.
pub const BEAT: Duration = Duration::from_secs(1);
/// 15 minutes of samples.
const SAMPLES: usize = 15 * 60 + 1;
/// Current rates are averages over this many milliseconds.
const NOW_MS: u64 = 10_000;
/// Two censuses this far apart say nothing about the rate in between.
const GAP_MS: u64 = 3_000;
/// Maximum number of denied keys that the page lists.
const LISTED: usize = 20;

/// The time of a reading of the store's counters, and the reading.
pub type Taken = (Instant, Result<Census, StoreError>);

/// The board, which all pages share.
pub struct Board {
    began: (u64, Instant),
    state: Mutex<State>,
    shown: watch::Sender<Arc<str>>,
}

#[derive(Default)]
struct State {
    /// Each `[at, up, allowed, denied, failed open, failed closed]`; `at` is in milliseconds
    /// since 1970, by a clock that never steps.
    samples: VecDeque<[u64; 6]>,
    /// Since when the store does not answer.
    down_since: Option<u64>,
    /// Why there is no census of now.
    trouble: Option<String>,
    /// The censuses of one run of the store, within the last [`NOW_MS`].
    censuses: VecDeque<(u64, Census)>,
}

impl Default for Board {
    fn default() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = u64::try_from(now.unwrap_or_default().as_millis()).unwrap_or(u64::MAX);
        Self {
            began: (now, Instant::now()),
            state: Mutex::default(),
            shown: watch::Sender::new("".into()),
        }
    }
}

impl Board {
    /// Returns whether a page is open.
    pub fn is_watched(&self) -> bool {
        self.shown.receiver_count() > 0
    }

    /// Returns all kept samples, and each snapshot that follows, as JSON.
    pub fn open(&self) -> (String, watch::Receiver<Arc<str>>) {
        let state = self.state();
        let mut snapshots = self.shown.subscribe();
        snapshots.mark_unchanged();
        (json!(state.samples).to_string(), snapshots)
    }

    /// Records the current counters and, if a page is open, the answer of the store.
    pub fn note(&self, limiter: &Limiter, taken: Option<&Taken>) {
        let at = self.at(Instant::now());
        let mut state = self.state();
        let mut up = limiter.store.is_up();
        state.trouble = None;
        if let Some((read, census)) = taken {
            match census {
                Ok(census) => state.keep(self.at(*read), census),
                Err(error) => {
                    // A server that keeps its counters to itself limits nevertheless.
                    up &= is_refusal(error);
                    state.trouble = Some(error.to_string());
                }
            }
        }
        state.down_since = match up {
            true => None,
            false => state.down_since.or(Some(at)),
        };
        if state.samples.len() == SAMPLES {
            state.samples.pop_front();
        }
        let [allowed, denied, open, closed] = limiter.metrics.outcomes();
        let sample = [at, up.into(), allowed, denied, open, closed];
        state.samples.push_back(sample);
        if taken.is_some() {
            let snapshot = snapshot(limiter, &state, at).to_string();
            self.shown.send_replace(snapshot.into());
        }
    }

    /// Returns milliseconds since 1970.
    fn at(&self, time: Instant) -> u64 {
        let passed = time.duration_since(self.began.1).as_millis();
        self.began
            .0
            .saturating_add(u64::try_from(passed).unwrap_or(u64::MAX))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Keeps this census, and as many earlier ones as the current rate needs. Drops those of
    /// another run of the store, whose counters restarted.
    fn keep(&mut self, at: u64, census: &Census) {
        let belongs = |(then, last): &(u64, Census)| then + GAP_MS > at && last.run == census.run;
        let last = self.censuses.back();
        if last.is_some_and(|(then, _)| *then == at) {
            return;
        }
        if !last.is_some_and(belongs) {
            self.censuses.clear();
        }
        let old = |&(then, _): &(u64, Census)| then + NOW_MS < at;
        // The oldest that stays is the one from which is counted.
        while self.censuses.get(1).is_some_and(old) {
            self.censuses.pop_front();
        }
        self.censuses.push_back((at, census.clone()));
    }
}

/// Returns whether the user may not read the counters.
fn is_refusal(error: &StoreError) -> bool {
    let error = error.downcast_ref::<RedisError>();
    error.is_some_and(|error| error.code() == Some("NOPERM"))
}

/// Returns the current state.
fn snapshot(limiter: &Limiter, state: &State, at: u64) -> Value {
    let cost = limiter.costs.usual;
    let limits = limiter.demand.limits.iter().zip(&limiter.metrics.denied);
    let limits: Vec<_> = limits
        .map(|(limit, denied)| json!({"words": limit.sentence(cost), "denied": get(denied)}))
        .collect();
    let last = state.censuses.back().map(|(_, census)| census);
    json!({
        "at": at,
        "downSince": state.down_since,
        "requests": limiter.metrics.outcomes(),
        "prefix": limiter.key_by.prefix,
        "takes": limiter.metrics.takes().collect::<Vec<_>>(),
        "all": limiter.metrics.all_takes(),
        "limits": limits,
        "cost": cost,
        "by": limiter.key_by.words(),
        "fail": match limiter.fail {
            Fail::Open => "held to the same limits in this process (failed open)",
            Fail::Closed => "refused with 503 (failed closed)",
        },
        "timeout": u64::try_from(limiter.timeout.as_millis()).unwrap_or(u64::MAX),
        "store": limiter.store.name(),
        "about": last.map(|census| &census.about),
        "trouble": state.trouble,
        "toldAt": state.censuses.back().map(|(at, _)| at),
        "denied": denied(limiter, &state.censuses),
    })
}

/// Returns the callers denied between the first and the last census, with their rates.
fn denied(limiter: &Limiter, censuses: &VecDeque<(u64, Census)>) -> Option<Value> {
    let ((then, before), (now, last)) = (censuses.front()?, censuses.back()?);
    let over = now.saturating_sub(*then);
    let seconds = over as f64 / 1000.0;
    let known: HashMap<&[u8], &Offender> =
        before.top.iter().map(|o| (o.key.as_slice(), o)).collect();
    // A new key has at least the count that it did not take over from another; likewise after a
    // reset of the list.
    let since = |offender: &Offender| {
        let before = known.get(offender.key.as_slice()).map(|o| o.denials);
        let before = before.filter(|&before| before <= offender.denials);
        offender.denials - before.map_or(offender.error, |before| before.max(offender.error))
    };
    let counted = last.top.iter().map(|offender| (since(offender), offender));
    let mut counted: Vec<_> = counted
        .filter(|&(since, offender)| match over {
            0 => offender.since < NOW_MS,
            _ => since > 0,
        })
        .collect();
    counted.sort_by_key(|(since, offender)| Reverse((*since, offender.denials)));
    let rows = counted.iter().take(LISTED).map(|(since, offender)| {
        let (caller, limit) = whose(limiter, offender).unzip();
        json!({
            "key": offender.shown(),
            "caller": caller,
            "limit": limit,
            "rate": (over > 0).then_some(*since as f64 / seconds),
            "denials": offender.denials,
            "error": offender.error,
        })
    });
    let rest = counted.len().saturating_sub(LISTED);
    let over = if over > 0 { over } else { NOW_MS };
    Some(json!({"top": rows.collect::<Vec<_>>(), "rest": rest, "over": over}))
}

/// Returns the caller and the limit of a key, if it is one of the limiter's.
fn whose<'a>(limiter: &'a Limiter, offender: &Offender) -> Option<(String, &'a str)> {
    let key = std::str::from_utf8(&offender.key).ok();
    let key = key.filter(|_| offender.is_whole())?;
    let mut limits = limiter.demand.limits.iter();
    let (caller, limit) = match limiter.demand.is_bucket() {
        true => (key, limits.next()?),
        false => limits.find_map(|limit| {
            let caller = key.strip_prefix('{')?.strip_suffix(&limit.name)?;
            Some((caller.strip_suffix("}:")?, limit))
        })?,
    };
    let ours = caller.starts_with(&limiter.key_by.prefix);
    ours.then(|| (caller.to_owned(), limit.name.as_str()))
}
