//! `RL.MTAKE numkeys key rate burst [key rate burst …] [COST n]`: takes `n` tokens (1) from every
//! bucket or from none.

use crate::commands::bucket::known_limits;
use crate::commands::error::Error;
use redis_rl_limits::grammar::options::{OptionName, Options};

use super::numkeys::split;
use super::reply::Replies;
use super::small_vec::Few;
use super::string_part::{StringPart, Wish};
use super::take_all::take_all_or_none;
use crate::commands::command::{Command, BURST, COST, FIRST_VERSION, KEY, RATE};
use crate::server::{Access, Call, Description, Doc, KeyName, Keys};
use crate::stats::BUCKETS;

/// Arguments per bucket: key, rate and burst.
const STEP: usize = 3;

/// The command.
pub struct MTake;

impl Command for MTake {
    const DESCRIPTION: Description = Description {
        name: c"RL.MTAKE",
        since: FIRST_VERSION,
        access: Access::Write,
        keys: Keys::Counted { step: STEP },
        summary: c"Takes tokens from several rate-limit buckets, or from none of them.",
        complexity: c"O(N) where N is the number of buckets",
        arguments: &[
            Doc::integer(c"numkeys"),
            Doc::block(c"bucket", &[KEY, RATE, BURST]).multiple(),
            COST,
        ],
        tips: None,
    };
    const SYNTAX: &'static str = "RL.MTAKE numkeys key rate burst [key rate burst ...] [COST n]";
    type Answer = Replies;

    fn run<'a>(call: &mut Call<'a>) -> Result<Replies, Error<'a>> {
        let (buckets, options) = split(call.arguments(), STEP, Self::SYNTAX)?;
        let ask = Options::parse(options, &[OptionName::Cost])?.ask();
        call.keep_open(buckets, STEP).map_err(Error::RepeatedKey)?;
        let mut limits = Few::new();
        for bucket in buckets.chunks_exact(STEP) {
            if let [name, rate, burst] = bucket {
                limits.push((
                    KeyName::of(name),
                    known_limits::limit(rate.bytes(), burst.bytes())?,
                ));
            }
        }
        let mut parts = Few::new();
        for &(name, limit) in limits.iter() {
            parts.push(StringPart::read(call, name, limit, Wish::Take(ask))?);
        }
        let replies = take_all_or_none(call, &parts, ask.cost as i64)?;
        BUCKETS.count_call(replies.is_denied());
        Ok(replies)
    }
}
