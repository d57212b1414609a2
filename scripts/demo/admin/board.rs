//! What the operators' page shows: a quarter of an hour of the demo's own counters, and once a
//! second, for all pages together, what the store tells.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;
use tokio::time::{interval, MissedTickBehavior};

use super::snapshot::{history, snapshot};
use super::Admin;
use crate::census::Census;

/// Between two samples.
const BEAT: Duration = Duration::from_secs(1);
/// A quarter of an hour of samples.
const SAMPLES: usize = 15 * 60 + 1;
/// Who is denied now is told by what was counted in that time.
const NOW_MS: u64 = 10_000;

/// The demo's counters at an instant.
#[derive(Clone, Copy)]
pub struct Sample {
    /// Milliseconds since 1970, by a clock that never steps.
    pub at: u64,
    /// Requests so far: allowed, delayed, denied, failed open, failed closed.
    pub requests: [u64; 5],
    /// Whether the store answered.
    pub up: bool,
}

/// The board, which all pages share.
pub struct Board {
    began: (u64, Instant),
    state: Mutex<State>,
    shown: watch::Sender<Arc<str>>,
}

#[derive(Default)]
struct State {
    samples: VecDeque<Sample>,
    /// Since when the store does not answer.
    down_since: Option<u64>,
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
    fn now(&self) -> u64 {
        let passed = u64::try_from(self.began.1.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.began.0.saturating_add(passed)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All samples that are kept, as JSON.
    pub fn history(&self) -> String {
        history(self.state().samples.iter())
    }

    /// Each snapshot from now on, as JSON.
    pub fn snapshots(&self) -> watch::Receiver<Arc<str>> {
        let mut snapshots = self.shown.subscribe();
        snapshots.mark_unchanged();
        snapshots
    }
}

impl State {
    /// Notes the counters of now, and whether the store answers.
    fn sample(&mut self, sample: Sample) {
        self.down_since = match sample.up {
            true => None,
            false => self.down_since.or(Some(sample.at)),
        };
        if self.samples.len() == SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
    }

    /// Keeps this one, and of those before as many as are needed to tell what happens now.
    fn keep(&mut self, at: u64, census: &Census) {
        let old = |&(then, _): &(u64, Census)| then + NOW_MS < at;
        // The oldest that stays is the one from which is counted.
        while self.censuses.get(1).is_some_and(old) {
            self.censuses.pop_front();
        }
        if self
            .censuses
            .back()
            .is_some_and(|(then, _)| then + 3 * NOW_MS < at)
        {
            self.censuses.clear();
        }
        self.censuses.push_back((at, census.clone()));
    }
}

impl Admin {
    /// Once a second, for as long as the demo runs: the store is asked only if somebody looks.
    pub async fn keep_board(self: Arc<Self>) {
        let mut beat = interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            beat.tick().await;
            let watched = self.board.shown.receiver_count() > 0;
            let census = match watched {
                true => Some(self.census.get().await),
                false => None,
            };
            let answered = census.as_ref().is_none_or(|census| census.is_ok());
            let at = self.board.now();
            let mut state = self.board.state();
            state.sample(Sample {
                at,
                requests: self.limiter.metrics.outcomes(),
                up: answered && self.limiter.store.is_up(),
            });
            let Some(census) = census else { continue };
            if let Ok(census) = census.as_ref() {
                state.keep(at, census);
            }
            let shown = snapshot(&self.limiter, at, state.down_since, &state.censuses);
            drop(state);
            self.board.shown.send_replace(shown.into());
        }
    }
}
