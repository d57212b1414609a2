//! Counts and ranks of a sorted set, which the module API lacks. Members near either end are found
//! by walking; others through the server's own commands in O(log n).

use std::ptr;

use super::read::{Bound, Scores};
use crate::server::api::api;
use crate::server::eviction_stats::{EvictionStats, UNSEEN};
use crate::server::member::Member;

/// Maximum steps of a walk. Up to this number a walk costs less than a server command.
const MAX_STEPS: usize = 64;

impl Scores<'_> {
    /// Returns the number of members with a score ≤ `score`.
    pub fn count_up_to(&mut self, score: i64) -> usize {
        match self.walk(f64::NEG_INFINITY, score as f64, MAX_STEPS) {
            Some(steps) => steps,
            None => match self.ask_count(score) {
                Some(count) => count,
                // The server lacks the command (rename-command?).
                None => self
                    .walk(f64::NEG_INFINITY, score as f64, usize::MAX)
                    .unwrap_or(usize::MAX),
            },
        }
    }

    /// Returns the n-th (1-based) score above `score`, given that `below` members have a score ≤
    /// `score`.
    pub fn nth_above(&mut self, score: f64, below: usize, n: usize) -> Option<f64> {
        if n > MAX_STEPS {
            if let Some(found) = self.ask_score(below.saturating_add(n).saturating_sub(1)) {
                return Some(found);
            }
        }
        let mut there = self.start(score, f64::INFINITY, Bound::Excluded);
        for _ in 1..n {
            there = there && self.next();
        }
        there
            .then(|| self.current())
            .flatten()
            .map(|(_, score)| score)
    }

    /// Returns the number of members with a score ≤ `score`, through the server's command.
    fn ask_count(&mut self, score: i64) -> Option<usize> {
        // SAFETY: ctx and name belong to the call in progress; the format is that of the
        // arguments: string object, C string, integer. The key is closed.
        self.ask(|scores| unsafe {
            let reply = api!(RedisModule_Call(
                scores.ctx,
                c"ZCOUNT".as_ptr(),
                c"scl".as_ptr(),
                scores.name.string,
                c"-inf".as_ptr(),
                score
            ));
            if reply.is_null() {
                return None;
            }
            let count = api!(RedisModule_CallReplyInteger(reply));
            api!(RedisModule_FreeCallReply(reply));
            usize::try_from(count).ok()
        })
    }

    /// Returns the score at a 0-based rank, through the server's command.
    fn ask_score(&mut self, rank: usize) -> Option<f64> {
        let rank = i64::try_from(rank).ok()?;
        // SAFETY: as above, with two integers. The string created from the reply is ours.
        let member = self.ask(|scores| unsafe {
            let (zrange, format) = (c"ZRANGE".as_ptr(), c"sll".as_ptr());
            let name = scores.name.string;
            let reply = api!(RedisModule_Call(
                scores.ctx, zrange, format, name, rank, rank
            ));
            if reply.is_null() {
                return None;
            }
            let element = api!(RedisModule_CallReplyArrayElement(reply, 0));
            let string = match element.is_null() {
                true => ptr::null_mut(),
                false => api!(RedisModule_CreateStringFromCallReply(element)),
            };
            api!(RedisModule_FreeCallReply(reply));
            Member::own(scores.ctx, string)
        })?;
        self.score(&member.name())
    }

    /// Closes the key while a command of the server runs, because the command may expire it. A peek
    /// preserves the key's time of last use.
    fn ask<T>(&mut self, ask: impl FnOnce(&Self) -> Option<T>) -> Option<T> {
        // SAFETY: the key is open and not empty: it was too long to walk through.
        let usage = (self.mode == UNSEEN).then(|| unsafe { EvictionStats::of(self.key) });
        self.close();
        let answer = ask(self);
        self.open();
        if let Some(usage) = usage.filter(|_| !self.key.is_null()) {
            // SAFETY: the key is open.
            unsafe { usage.restore(self.key) };
        }
        answer
    }
}
