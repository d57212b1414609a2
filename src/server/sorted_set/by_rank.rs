//! Finds what is too far away to walk to, through the server's own commands.

use std::ptr;

use super::read::Scores;
use crate::server::api::api;
use crate::server::eviction_stats::{Usage, UNSEEN};
use crate::server::member::Member;

impl Scores<'_> {
    /// Returns the number of members with a score ≤ `score`, through the server's command.
    pub(in crate::server) fn ask_count(&mut self, score: i64) -> Option<usize> {
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
    pub(in crate::server) fn ask_score(&mut self, rank: usize) -> Option<f64> {
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
        let usage = (self.mode == UNSEEN).then(|| unsafe { Usage::of(self.key) });
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
