//! The options that may follow a command's fixed arguments, in any order.

use crate::grammar::error::{Error, Parameter};
use crate::grammar::number::integer;
pub use crate::grammar::words::Name;
use crate::kinds::decision::{Ask, Mode};
use crate::kinds::lease::IfHeld;

/// An argument of a call: any bytes.
pub trait Word<'a> {
    /// Returns the bytes as they were sent.
    fn bytes(&self) -> &'a [u8];
}

impl<'a> Word<'a> for &'a [u8] {
    fn bytes(&self) -> &'a [u8] {
        self
    }
}

/// The options of a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    cost: Option<u64>,
    keep: Option<u64>,
    mode: Option<Mode>,
    at: Option<u64>,
    count: Option<u64>,
    once: bool,
    nx: bool,
}

impl Options {
    /// Parses all of `words` as options, of which those in `accepted` are allowed.
    ///
    /// # Errors
    /// An option is unknown, is repeated, lacks its value, or conflicts with another.
    #[inline(always)]
    pub fn parse<'a, W: Word<'a>>(
        words: &[W],
        accepted: &'static [Name],
    ) -> Result<Self, Error<'a>> {
        let (options, rest) = Self::parse_prefix(words, accepted)?;
        match rest.first() {
            None => Ok(options),
            Some(word) => Err(Error::UnknownOption(word.bytes(), accepted)),
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
        accepted: &'static [Name],
    ) -> Result<(Self, &'s [W]), Error<'a>> {
        let mut options = Self::default();
        while let [word, rest @ ..] = words {
            let word = word.bytes();
            let is = |name: &&Name| word.eq_ignore_ascii_case(name.word().as_bytes());
            let Some(&name) = accepted.iter().find(is) else {
                break;
            };
            words = options.read(name, word, rest)?;
        }
        options.check_keep()?;
        Ok((options, words))
    }

    /// Parses the option that `word` names, and returns the rest.
    fn read<'s, 'a, W: Word<'a>>(
        &mut self,
        name: Name,
        word: &'a [u8],
        rest: &'s [W],
    ) -> Result<&'s [W], Error<'a>> {
        let number = |parameter: Parameter| match rest {
            [] => Err(Error::MissingValue(word)),
            [text, rest @ ..] => Ok((parameter.integer(text.bytes())?, rest)),
        };
        match name {
            Name::Cost => {
                let (n, rest) = number(Parameter::Cost)?;
                set(&mut self.cost, n, word)?;
                Ok(rest)
            }
            Name::Keep => {
                let (n, rest) = number(Parameter::Keep)?;
                set(&mut self.keep, n, word)?;
                Ok(rest)
            }
            Name::MaxWait => {
                let (ms, rest) = number(Parameter::MaxWait)?;
                self.set_mode(Mode::MaxWait(ms), word)?;
                Ok(rest)
            }
            Name::At => {
                let (ms, rest) = number(Parameter::At)?;
                set(&mut self.at, ms, word)?;
                Ok(rest)
            }
            Name::Count => {
                let (n, rest) = number(Parameter::LeaseCount)?;
                set(&mut self.count, n, word)?;
                Ok(rest)
            }
            Name::Once => flag(&mut self.once, word).map(|()| rest),
            Name::Nx => flag(&mut self.nx, word).map(|()| rest),
            Name::AtMost => self.set_mode(Mode::AtMost, word).map(|()| rest),
            Name::Force => self.set_mode(Mode::Force, word).map(|()| rest),
        }
    }

    fn set_mode<'a>(&mut self, mode: Mode, word: &'a [u8]) -> Result<(), Error<'a>> {
        match self.mode.replace(mode) {
            None => Ok(()),
            Some(before) if same_option(before, mode) => Err(Error::RepeatedOption(word)),
            Some(_) => Err(Error::ExcludedOption(word)),
        }
    }

    fn check_keep(&self) -> Result<(), Error<'static>> {
        match (self.keep, self.mode) {
            (Some(_), Some(Mode::MaxWait(_) | Mode::Force)) => Err(Error::ExcludedOption(b"KEEP")),
            _ => Ok(()),
        }
    }

    /// Returns the request.
    pub fn ask(&self) -> Ask {
        Ask {
            cost: self.cost(),
            keep: self.keep(),
            mode: self.mode.unwrap_or(Mode::Whole),
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

    /// Returns what becomes of a token that already holds a slot.
    pub fn if_held(&self) -> IfHeld {
        match self.nx {
            true => IfHeld::Deny,
            false => IfHeld::Renew,
        }
    }

    /// Returns COST, 1 by default.
    pub fn cost(&self) -> u64 {
        self.cost.unwrap_or(1)
    }
}

fn set<'a>(option: &mut Option<u64>, n: u64, word: &'a [u8]) -> Result<(), Error<'a>> {
    match option.replace(n) {
        None => Ok(()),
        Some(_) => Err(Error::RepeatedOption(word)),
    }
}

fn flag<'a>(option: &mut bool, word: &'a [u8]) -> Result<(), Error<'a>> {
    match std::mem::replace(option, true) {
        false => Ok(()),
        true => Err(Error::RepeatedOption(word)),
    }
}

fn same_option(a: Mode, b: Mode) -> bool {
    std::mem::discriminant(&a) == std::mem::discriminant(&b)
}

impl Parameter {
    /// Parses a value of this parameter.
    ///
    /// # Errors
    /// It is not an integer, or is out of bounds.
    #[inline(always)]
    pub fn integer(self, text: &[u8]) -> Result<u64, Error<'_>> {
        integer(text, self.bounds()).ok_or(Error::Invalid(self, text))
    }
}
