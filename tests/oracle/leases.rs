//! A model of leases: a list of holders with their ends. It shares no code with the crate.

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};

/// The leases of one key.
#[derive(Clone, Debug, Default)]
pub struct Model {
    /// Token → when its lease ends. Those that ended stay until they are seen to be gone.
    pub ends: BTreeMap<String, i64>,
}

/// A right call.
#[derive(Debug)]
pub enum Call {
    Acquire {
        limit: i64,
        keep: i64,
        ttl: i64,
        token: String,
        nx: bool,
    },
    Renew {
        ttl: i64,
        tokens: Vec<String>,
    },
    Release {
        tokens: Vec<String>,
    },
    Look {
        limit: i64,
    },
}

/// The expected reply and state of a call.
pub struct Outcome {
    pub says: Vec<i64>,
    pub told: Vec<(String, i64)>,
    pub after: BTreeMap<String, i64>,
}

impl Model {
    pub fn live(&self, now: i64) -> Vec<(i64, &str)> {
        let mut live: Vec<_> = self
            .ends
            .iter()
            .map(|(t, &end)| (end, t.as_str()))
            .collect();
        live.retain(|&(end, _)| end > now);
        live.sort_unstable();
        live
    }

    /// Returns the expected outcome of a call at `now`, in milliseconds since 1970.
    pub fn outcome(&self, call: &Call, now: i64) -> Outcome {
        let live = self.live(now);
        let mut after = self.ends.clone();
        let held = live.len() as i64;
        let is_live = |token: &String| self.ends.get(token).is_some_and(|&end| end > now);
        let last = |ends: &BTreeMap<String, i64>| ends.values().map(|end| end - now).max();
        let reset = |ends: &BTreeMap<String, i64>| last(ends).unwrap_or(0).max(0);
        // The wait until only `most` are left.
        let wait = |most: i64| match usize::try_from(held - most - 1) {
            _ if most < 0 => -1,
            Ok(nth) => live[nth].0 - now,
            Err(_) => 0,
        };
        let mut told = Vec::new();
        let says = match call {
            Call::Acquire {
                limit,
                keep,
                ttl,
                token,
                nx,
            } => {
                let renews = is_live(token);
                if renews && *nx {
                    let free = (limit - held).max(0);
                    vec![0, *limit, free, self.ends[token] - now, reset(&after)]
                } else if renews || held + 1 + keep <= *limit {
                    let old = if renews { self.ends[token] } else { 0 };
                    after.insert(token.clone(), old.max(now + ttl));
                    let held = held + i64::from(!renews);
                    vec![1, *limit, (limit - held).max(0), 0, reset(&after)]
                } else {
                    let free = (limit - held).max(0);
                    vec![0, *limit, free, wait(limit - keep - 1), reset(&after)]
                }
            }
            Call::Renew { ttl, tokens } => {
                let renewed: BTreeSet<_> = tokens.iter().filter(|t| is_live(t)).collect();
                for token in &renewed {
                    let old = self.ends[*token];
                    after.insert((*token).clone(), old.max(now + ttl));
                }
                vec![renewed.len() as i64]
            }
            Call::Release { tokens } => {
                let before = after.len();
                after.retain(|token, &mut end| !tokens.contains(token) || end <= now);
                vec![(before - after.len()) as i64]
            }
            Call::Look { limit } => {
                told = live
                    .iter()
                    .map(|(end, t)| ((*t).to_owned(), end - now))
                    .collect();
                vec![
                    held,
                    *limit,
                    (limit - held).max(0),
                    wait(limit - 1),
                    reset(&after),
                    0,
                ]
            }
        };
        Outcome { says, told, after }
    }
}
