//! The grammar of a limit in RL.SETTLE.

use crate::commands::error::Error;
use crate::commands::hold_error::Fault;
use redis_rl_limits::grammar::options::OptionName;
use redis_rl_limits::grammar::{hold::check_id, lease::check_token};

use super::limit_spec::{is_end, options, StringLimit};
use crate::server::Argument;

/// A limit as a settlement names it.
pub enum SettleSpec<'a> {
    /// `BUCKET rate burst USED n` or `WINDOW limit window USED n`
    String(StringLimit, u64),
    /// `LEASE token`
    Lease(&'a Argument<'a>),
    /// `HOLD id`
    Hold(&'a Argument<'a>),
}

impl<'a> SettleSpec<'a> {
    /// Parses the limit that `words` begin with, and returns it with the words behind it.
    ///
    /// # Errors
    /// It is not accepted; `syntax` if words are missing.
    pub fn parse(
        words: &'a [Argument<'a>],
        syntax: &'static str,
    ) -> Result<(Self, &'a [Argument<'a>]), Error<'a>> {
        let usage = Error::Usage(syntax);
        let (kind, words) = words.split_first().ok_or(usage)?;
        if let Some(parsed) = StringLimit::parse(kind, words, usage) {
            let (limit, words) = parsed?;
            let (options, rest) = options(words, &[OptionName::Used])?;
            let used = options.used().ok_or(Fault::Used)?;
            return Ok((Self::String(limit, used), rest));
        }
        let is = |name: &str| kind.bytes().eq_ignore_ascii_case(name.as_bytes());
        let word = || words.split_first().ok_or(usage);
        let (spec, words) = if is("LEASE") {
            let (token, words) = word()?;
            check_token(token.bytes())?;
            (Self::Lease(token), words)
        } else if is("HOLD") {
            let (id, words) = word()?;
            check_id(id.bytes())?;
            (Self::Hold(id), words)
        } else {
            return Err(Error::Kind(kind.bytes()));
        };
        match words {
            [word, ..] if !is_end(words) => Err(Fault::NameAlone(word.bytes()).into()),
            _ => Ok((spec, words)),
        }
    }
}
