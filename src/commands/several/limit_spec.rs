//! Parses the specs of RL.ALL.

use crate::commands::bucket::known_limits;
use crate::commands::error::Error;
use crate::commands::hold_error::Fault;
use redis_rl_limits::grammar;
use redis_rl_limits::grammar::options::{OptionName, Options};
use redis_rl_limits::grammar::window::Quota;
use redis_rl_limits::kinds::decision::Ask;
use redis_rl_limits::kinds::hold::Limited;
use redis_rl_limits::kinds::{bucket, sliding, window};

use super::holds_key::AVAILABLE;
use crate::commands::lease::slot::SlotRequest;
use crate::server::Argument;

/// A spec: one limit of a call.
pub enum Spec<'a> {
    /// `BUCKET rate burst [COST n] [KEEP n]` or `WINDOW limit window [COST n] [KEEP n]`
    String(StringLimit, Ask),
    /// `LEASE limit ttl token [KEEP n] [ONCE]`
    Lease(LeaseSpec<'a>),
    /// `HOLD ttl id [ELSE FREE | ELSE CHARGE]`
    Hold(HoldSpec<'a>),
}

/// A limit whose state is a string.
#[derive(Clone, Copy)]
pub enum StringLimit {
    /// `rate burst`
    Bucket(bucket::Limit),
    /// `limit window`
    Window(window::Limit),
    /// `WINDOW limit SLIDING duration …`
    Sliding(sliding::Limit),
}

/// A hold as a call names it.
#[derive(Clone, Copy)]
pub struct HoldSpec<'a> {
    /// Time until it is overdue, in milliseconds.
    pub ttl_ms: i64,
    /// Its id.
    pub id: &'a Argument<'a>,
    /// Whether it is refunded when overdue.
    pub else_free: bool,
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
        if let Some(parsed) = StringLimit::parse(kind, words, usage) {
            let (limit, words) = parsed?;
            let (options, rest) = options(words, &[OptionName::Cost, OptionName::Keep])?;
            Ok((Self::String(limit, options.ask()), rest))
        } else if is("LEASE") {
            let [limit, ttl, token, words @ ..] = words else {
                return Err(usage);
            };
            let (options, rest) = options(words, &[OptionName::Keep, OptionName::Once])?;
            let request = SlotRequest::parse(limit, ttl, token, &options)?;
            let once = options.once();
            Ok((Self::Lease(LeaseSpec { request, once }), rest))
        } else if is("HOLD") {
            let [ttl, id, words @ ..] = words else {
                return Err(usage);
            };
            if !AVAILABLE.is_set() {
                return Err(Fault::Unavailable.into());
            }
            grammar::hold::check_id(id.bytes())?;
            let (options, rest) = options(words, &[OptionName::Else])?;
            let hold = HoldSpec {
                ttl_ms: grammar::hold::parse_ttl(ttl.bytes())?,
                id,
                else_free: options.else_free(),
            };
            Ok((Self::Hold(hold), rest))
        } else {
            Err(Error::Kind(kind.bytes()))
        }
    }
}

impl StringLimit {
    /// Parses the bucket or the window that `words` after `kind` begin with, and returns it with
    /// the words behind it; `None` if `kind` is another.
    #[inline(always)]
    pub fn parse<'a>(
        kind: &'a Argument<'a>,
        words: &'a [Argument<'a>],
        usage: Error<'a>,
    ) -> Option<Result<(Self, &'a [Argument<'a>]), Error<'a>>> {
        let is = |name: &str| kind.bytes().eq_ignore_ascii_case(name.as_bytes());
        if is("BUCKET") {
            let [rate, burst, words @ ..] = words else {
                return Some(Err(usage));
            };
            let limit = known_limits::limit(rate.bytes(), burst.bytes());
            Some(match limit {
                Ok(limit) => Ok((Self::Bucket(limit), words)),
                Err(error) => Err(error.into()),
            })
        } else if is("WINDOW") {
            if words.len() < 2 {
                return Some(Err(usage));
            }
            Some(match Quota::parse(words) {
                Ok((Quota::Fixed(limit), words)) => Ok((Self::Window(limit), words)),
                Ok((Quota::Sliding(limit), words)) => Ok((Self::Sliding(limit), words)),
                Err(error) => Err(error.into()),
            })
        } else {
            None
        }
    }

    /// Returns the limit at a key, as a record names it.
    pub fn at(self, name: &[u8]) -> Limited<'_> {
        match self {
            Self::Bucket(_) => Limited::bucket(name),
            Self::Window(_) | Self::Sliding(_) => Limited::window(name),
        }
    }
}

/// Parses the options of one limit, up to the next limit.
///
/// # Errors
/// A word is neither an accepted option nor the name of a kind of limit, or an option's value is invalid.
pub fn options<'a>(
    words: &'a [Argument<'a>],
    accepted: &'static [OptionName],
) -> Result<(Options, &'a [Argument<'a>]), Error<'a>> {
    // Most limits have none.
    if is_end(words) {
        return Ok((Options::default(), words));
    }
    let (options, rest) = Options::parse_prefix(words, accepted)?;
    match rest {
        [word, ..] if !is_end(rest) => Err(options.rejection(word.bytes(), accepted).into()),
        _ => Ok((options, rest)),
    }
}

/// Returns whether `words` is empty or begins with the next limit.
pub fn is_end(words: &[Argument<'_>]) -> bool {
    let Some(word) = words.first().map(Argument::bytes) else {
        return true;
    };
    [&b"BUCKET"[..], b"WINDOW", b"LEASE", b"HOLD"]
        .iter()
        .any(|name| word.eq_ignore_ascii_case(name))
}
