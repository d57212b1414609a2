//! `RL.HOLDS key [COUNT n]`: the open holds, read without side effects.

use std::collections::BinaryHeap;

use crate::commands::error::Error;
use redis_rl_limits::bounds::{DEFAULT_LISTED_HOLDS, MAX_HOLDS};
use redis_rl_limits::grammar::options::{OptionName, Options};
use redis_rl_limits::kinds::hold::{self, Open, Record};

use super::holds_key::{millis, read_marker, refused};
use crate::commands::command::{Answer, Command, HOLDS_VERSION, KEY};
use crate::server::{Access, Argument, Call, Description, Doc, Keys};

/// The command.
pub struct Holds;

/// The reply.
pub struct Listed {
    now_ms: i64,
    /// Holds that are neither settled nor closed.
    pub open: i64,
    /// Open holds whose deadline has passed.
    pub overdue: i64,
    /// Settled and closed records.
    pub remembered: i64,
    /// Deadline, id and record of the open holds with the soonest deadlines.
    holds: Vec<(i64, Vec<u8>, Vec<u8>)>,
}

impl Command for Holds {
    const DESCRIPTION: Description = Description {
        name: c"RL.HOLDS",
        since: HOLDS_VERSION,
        access: Access::List,
        keys: Keys::First,
        summary: c"Returns the open holds of a holds key without changing anything.",
        complexity: c"O(N) where N is the number of records",
        arguments: &[KEY, Doc::integer(c"count").after(c"COUNT").optional()],
        tips: Some(c"nondeterministic_output"),
    };
    const SYNTAX: &'static str = "RL.HOLDS key [COUNT n]";
    type Answer = Listed;

    fn run<'a>(call: &mut Call<'a>) -> Result<Listed, Error<'a>> {
        let [key, options @ ..] = call.arguments() else {
            return Err(Error::Usage(Self::SYNTAX));
        };
        let options = Options::parse(options, &[OptionName::Count])?;
        let most = options.count().unwrap_or(DEFAULT_LISTED_HOLDS);
        Listed::of(call, key, usize::try_from(most).unwrap_or(usize::MAX))
    }
}

impl Listed {
    /// Lists at most `most` of the open holds of a key, soonest deadline first.
    ///
    /// # Errors
    /// The key holds something else.
    pub fn of<'a>(call: &mut Call<'a>, key: &Argument<'a>, most: usize) -> Result<Self, Error<'a>> {
        let mut listed = Listed {
            now_ms: millis(call),
            open: 0,
            overdue: 0,
            remembered: 0,
            holds: Vec::new(),
        };
        let hash = call
            .peek_hash(key)
            .map_err(|refusal| refused(refusal, key.bytes()))?;
        if read_marker(&hash, key.bytes())?.is_none() || hash.has_expired() {
            return Ok(listed);
        }
        let mut soonest = BinaryHeap::new();
        hash.each(|id, bytes| {
            if let Some(deadline) = listed.see(id, bytes) {
                soonest.push((deadline, id.to_vec(), bytes.to_vec()));
                if soonest.len() > most {
                    soonest.pop();
                }
            }
        });
        listed.holds = soonest.into_sorted_vec();
        Ok(listed)
    }

    /// Returns the deadline of the first open hold, in Unix milliseconds; `None` without one.
    pub fn first_deadline(&self) -> Option<i64> {
        self.holds.first().map(|(deadline, ..)| *deadline)
    }

    /// Counts a record. Returns the deadline of an open hold.
    fn see(&mut self, id: &[u8], bytes: &[u8]) -> Option<i64> {
        let record = Record::parse(bytes).filter(|_| id != hold::MARKER)?;
        if record.is_forgotten(self.now_ms) {
            return None;
        }
        let Record::Open(open) = record else {
            self.remembered = self.remembered.saturating_add(1);
            return None;
        };
        self.open = self.open.saturating_add(1);
        let is_overdue = open.is_overdue(self.now_ms);
        self.overdue = self.overdue.saturating_add(i64::from(is_overdue));
        Some(open.deadline)
    }
}

impl Answer for Listed {
    fn send(&self, call: &Call<'_>) {
        call.reply_array(5);
        let most = i64::try_from(MAX_HOLDS).unwrap_or(i64::MAX);
        for number in [self.open, most, self.overdue, self.remembered] {
            call.reply_integer(number);
        }
        let open = self
            .holds
            .iter()
            .filter_map(|(_, id, record)| match Record::parse(record) {
                Some(Record::Open(open)) => Some((id, open)),
                _ => None,
            });
        call.reply_array(open.clone().count());
        for (id, open) in open {
            send(call, id, &open, self.now_ms);
        }
    }
}

fn send(call: &Call<'_>, id: &[u8], open: &Open<'_>, now_ms: i64) {
    call.reply_array(4);
    call.reply_bytes(id);
    call.reply_integer(open.millis_left(now_ms));
    call.reply_bytes(match open.else_free {
        true => b"FREE",
        false => b"CHARGE",
    });
    call.reply_array(open.charges().count());
    for charge in open.charges() {
        call.reply_array(2);
        call.reply_bytes(charge.limit.name);
        call.reply_integer(i64::try_from(charge.held()).unwrap_or(i64::MAX));
    }
}
