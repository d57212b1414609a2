//! The options that may follow a command's fixed arguments, in any order.

pub use crate::grammar::option_error::Error;
use crate::grammar::parameter::Parameter;
pub use crate::grammar::words::{OptionName, Word};
use crate::kinds::decision::{Ask, Mode};
use crate::kinds::lease::IfHeld;

/// The options of a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    cost: Option<u64>,
    keep: Option<u64>,
    mode: Option<(OptionName, Mode)>,
    at: Option<u64>,
    count: Option<u64>,
    once: bool,
    nx: bool,
    used: Option<u64>,
    else_free: Option<bool>,
    wait_ms: Option<u64>,
    queue: Option<u64>,
}

impl Options {
    /// Parses all of `words` as options; those in `accepted` are allowed.
    ///
    /// # Errors
    /// An option is unknown, is repeated, lacks its value, or conflicts with another.
    #[inline(always)]
    pub fn parse<'a, W: Word<'a>>(
        words: &[W],
        accepted: &'static [OptionName],
    ) -> Result<Self, Error<'a>> {
        let (options, rest) = Self::parse_prefix(words, accepted)?;
        match rest.first() {
            None => Ok(options),
            Some(word) => Err(options.rejection(word.bytes(), accepted)),
        }
    }

    /// Returns the error for the word after these options, which is none of `accepted`.
    pub fn rejection<'a>(&self, word: &'a [u8], accepted: &'static [OptionName]) -> Error<'a> {
        let may_be_given = self.cost.is_none() && accepted.contains(&OptionName::Cost);
        match Parameter::COST.integer(word) {
            Ok(_) if may_be_given => Error::LacksCost(word),
            _ => Error::Unknown(word, accepted),
        }
    }

    /// Parses the options at the beginning of `words`, up to the first word that is not one, and
    /// returns them with the rest.
    ///
    /// # Errors
    /// An option is repeated, lacks its value, or conflicts with another.
    #[inline(always)]
    pub fn parse_prefix<'s, 'a, W: Word<'a>>(
        mut words: &'s [W],
        accepted: &'static [OptionName],
    ) -> Result<(Self, &'s [W]), Error<'a>> {
        let mut options = Self::default();
        while let [word, rest @ ..] = words {
            let word = word.bytes();
            let is = |name: &&OptionName| word.eq_ignore_ascii_case(name.word().as_bytes());
            let Some(&name) = accepted.iter().find(is) else {
                break;
            };
            words = options.read(name, word, rest)?;
        }
        options.check()?;
        Ok((options, words))
    }

    /// Parses the option that `word` names, and returns the rest.
    fn read<'s, 'a, W: Word<'a>>(
        &mut self,
        name: OptionName,
        word: &'a [u8],
        rest: &'s [W],
    ) -> Result<&'s [W], Error<'a>> {
        let number = |parameter: &'static Parameter| match rest {
            [] => Err(Error::MissingValue(word)),
            [text, rest @ ..] => Ok((parameter.integer(text.bytes()).map_err(Error::Value)?, rest)),
        };
        let (value, parameter) = match name {
            OptionName::Cost => (&mut self.cost, Parameter::COST),
            OptionName::Keep => (&mut self.keep, Parameter::KEEP),
            OptionName::At => (&mut self.at, Parameter::AT),
            OptionName::Count => (&mut self.count, Parameter::COUNT),
            OptionName::Used => (&mut self.used, Parameter::USED),
            OptionName::Wait => (&mut self.wait_ms, Parameter::WAIT),
            OptionName::Queue => (&mut self.queue, Parameter::QUEUE),
            OptionName::MaxWait => {
                let (ms, rest) = number(Parameter::MAX_WAIT)?;
                return self.set_mode(name, Mode::MaxWait(ms), word).map(|()| rest);
            }
            OptionName::AtMost => return self.set_mode(name, Mode::AtMost, word).map(|()| rest),
            OptionName::Force => return self.set_mode(name, Mode::Force, word).map(|()| rest),
            OptionName::Once => return flag(&mut self.once, word).map(|()| rest),
            OptionName::Nx => return flag(&mut self.nx, word).map(|()| rest),
            OptionName::Else => {
                let (text, rest) = rest.split_first().ok_or(Error::MissingValue(word))?;
                let else_free = free_or_charge(text.bytes())?;
                return set(&mut self.else_free, else_free, word).map(|()| rest);
            }
        };
        let (n, rest) = number(parameter)?;
        set(value, n, word).map(|()| rest)
    }

    fn set_mode<'a>(
        &mut self,
        name: OptionName,
        mode: Mode,
        word: &'a [u8],
    ) -> Result<(), Error<'a>> {
        match self.mode.replace((name, mode)) {
            None => Ok(()),
            Some((before, _)) if before == name => Err(Error::Repeated(word)),
            Some((before, _)) => Err(Error::Excluded(word, before.word())),
        }
    }

    fn check(&self) -> Result<(), Error<'static>> {
        if self.queue.is_some() && self.wait_ms.is_none() {
            return Err(Error::Needs("QUEUE", "WAIT"));
        }
        match (self.keep, self.mode) {
            (Some(_), Some((name @ (OptionName::MaxWait | OptionName::Force), _))) => {
                Err(Error::Excluded(b"KEEP", name.word()))
            }
            _ => Ok(()),
        }
    }

    /// Returns the request.
    pub fn ask(&self) -> Ask {
        Ask {
            cost: self.cost(),
            keep: self.keep(),
            mode: self.mode.map_or(Mode::Whole, |(_, mode)| mode),
        }
    }

    /// Returns AT, in milliseconds since 1970, if given.
    pub fn taken_at(&self) -> Option<u64> {
        self.at
    }

    /// Returns KEEP, 0 by default.
    pub fn keep(&self) -> u64 {
        self.keep.unwrap_or(0)
    }

    /// Returns COUNT, if given.
    pub fn count(&self) -> Option<u64> {
        self.count
    }

    /// Returns whether ONCE is given.
    pub fn once(&self) -> bool {
        self.once
    }

    /// Returns WAIT, the milliseconds for which the caller waits for a slot.
    pub fn wait_ms(&self) -> Option<u64> {
        self.wait_ms
    }

    /// Returns QUEUE, the number of other waiters at which the caller does not wait.
    pub fn queue(&self) -> Option<u64> {
        self.queue
    }

    /// Returns what becomes of a token that already holds a slot.
    pub fn if_held(&self) -> IfHeld {
        match self.nx {
            true => IfHeld::Deny,
            false => IfHeld::Renew,
        }
    }

    /// Returns USED, the amount that a settlement leaves charged, if given.
    pub fn used(&self) -> Option<u64> {
        self.used
    }

    /// Returns whether an overdue hold is refunded: the default, unless the call has ELSE CHARGE.
    pub fn else_free(&self) -> bool {
        self.else_free.unwrap_or(true)
    }

    /// Returns COST, 1 by default.
    pub fn cost(&self) -> u64 {
        self.cost.unwrap_or(1)
    }
}

fn set<'a, T>(option: &mut Option<T>, value: T, word: &'a [u8]) -> Result<(), Error<'a>> {
    match option.replace(value) {
        None => Ok(()),
        Some(_) => Err(Error::Repeated(word)),
    }
}

/// Parses the value of ELSE; `true` is FREE.
fn free_or_charge(text: &[u8]) -> Result<bool, Error<'_>> {
    let is = |word: &str| text.eq_ignore_ascii_case(word.as_bytes());
    match is("FREE") {
        false if !is("CHARGE") => Err(Error::Else(text)),
        free => Ok(free),
    }
}

fn flag<'a>(option: &mut bool, word: &'a [u8]) -> Result<(), Error<'a>> {
    match std::mem::replace(option, true) {
        false => Ok(()),
        true => Err(Error::Repeated(word)),
    }
}
