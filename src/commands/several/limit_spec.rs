//! Parses the specs of RL.ALL.

use crate::commands::error::Error;
use redis_rl_limits::grammar;
use redis_rl_limits::grammar::options::{self, OptionName, Options};
use redis_rl_limits::grammar::window::Quota;
use redis_rl_limits::kinds::decision::Ask;
use redis_rl_limits::kinds::{bucket, sliding, window};

use crate::commands::lease::slot::SlotRequest;
use crate::server::Argument;

/// A spec: one limit of a call.
pub enum Spec<'a> {
    /// `BUCKET rate burst [COST n] [KEEP n]`
    Bucket(bucket::Limit, Ask),
    /// `WINDOW limit window [COST n] [KEEP n]`
    Window(window::Limit, Ask),
    /// `WINDOW limit SLIDING duration [COST n] [KEEP n]`
    Sliding(sliding::Limit, Ask),
    /// `LEASE limit ttl token [KEEP n] [ONCE]`
    Lease(LeaseSpec<'a>),
}

/// The spec of a lease.
#[derive(Clone, Copy)]
pub struct LeaseSpec<'a> {
    /// The requested slot.
    pub request: SlotRequest<'a>,
    /// Whether a repeated call with the same token charges nothing.
    pub once: bool,
}

impl<'a> Spec<'a> {
    /// Parses the spec at the beginning of `words`, and returns it with the rest.
    ///
    /// # Errors
    /// It is invalid; the error contains `syntax` if words are missing.
    pub fn parse(
        words: &'a [Argument<'a>],
        syntax: &'static str,
    ) -> Result<(Self, &'a [Argument<'a>]), Error<'a>> {
        let usage = Error::Usage(syntax);
        let (kind, words) = words.split_first().ok_or(usage)?;
        let is = |name: &str| kind.bytes().eq_ignore_ascii_case(name.as_bytes());
        if is("BUCKET") {
            let [rate, burst, words @ ..] = words else {
                return Err(usage);
            };
            let limit = grammar::bucket::limit(rate.bytes(), burst.bytes())?;
            let (options, rest) = options(words, &[OptionName::Cost, OptionName::Keep])?;
            Ok((Self::Bucket(limit, options.ask()), rest))
        } else if is("WINDOW") {
            if words.len() < 2 {
                return Err(usage);
            }
            let (quota, words) = Quota::parse(words)?;
            let (options, rest) = options(words, &[OptionName::Cost, OptionName::Keep])?;
            let spec = match quota {
                Quota::Fixed(limit) => Self::Window(limit, options.ask()),
                Quota::Sliding(limit) => Self::Sliding(limit, options.ask()),
            };
            Ok((spec, rest))
        } else if is("LEASE") {
            let [limit, ttl, token, words @ ..] = words else {
                return Err(usage);
            };
            let (options, rest) = options(words, &[OptionName::Keep, OptionName::Once])?;
            let request = SlotRequest::parse(limit, ttl, token, &options)?;
            let once = options.once();
            Ok((Self::Lease(LeaseSpec { request, once }), rest))
        } else {
            Err(Error::Kind(kind.bytes()))
        }
    }
}

/// Parses the options of one limit, up to the next limit.
fn options<'a>(
    words: &'a [Argument<'a>],
    accepted: &'static [OptionName],
) -> Result<(Options, &'a [Argument<'a>]), Error<'a>> {
    let (options, rest) = Options::parse_prefix(words, accepted)?;
    match rest {
        [word, ..] if !begins_limit(word.bytes()) => {
            Err(options::Error::Unknown(word.bytes(), accepted).into())
        }
        _ => Ok((options, rest)),
    }
}

fn begins_limit(word: &[u8]) -> bool {
    [&b"BUCKET"[..], b"WINDOW", b"LEASE"]
        .iter()
        .any(|name| word.eq_ignore_ascii_case(name))
}
