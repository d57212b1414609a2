//! Why the options of a call are refused, and the texts.

use std::fmt;

use crate::grammar::calendar::{UnitNames, ANCHOR, OFFSET};
use crate::grammar::parameter;
use crate::grammar::words::OptionName;
use crate::show::Shown;

/// Why the options of a call were refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error<'a> {
    /// The option is unknown; contains the accepted ones.
    Unknown(&'a [u8], &'static [OptionName]),
    /// A number stands where an option is expected, and COST may be given.
    LacksCost(&'a [u8]),
    /// An option lacks its value.
    MissingValue(&'a [u8]),
    /// An option is given twice.
    Repeated(&'a [u8]),
    /// The first option requires the second.
    Needs(&'static str, &'static str),
    /// The first option conflicts with the second.
    Excluded(&'a [u8], &'static str),
    /// Neither FREE nor CHARGE.
    Else(&'a [u8]),
    /// Its value is not accepted.
    Value(parameter::Error<'a>),
}

impl fmt::Display for Error<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let belongs_to_a_unit = |got: &[u8]| {
            let is = |word: &str| got.eq_ignore_ascii_case(word.as_bytes());
            is(OFFSET) || is(ANCHOR)
        };
        match *self {
            Self::Unknown(got, _) if belongs_to_a_unit(got) => write!(
                f,
                "syntax error: '{}' comes directly after {}",
                Shown(got),
                UnitNames {
                    of: |_| true,
                    last: " or "
                }
            ),
            Self::LacksCost(got) => {
                let got = Shown(got);
                write!(f, "syntax error: unknown option '{got}': write COST {got}")
            }
            Self::Unknown(got, accepted) => {
                let got = Shown(got);
                write!(f, "syntax error: unknown option '{got}'")?;
                for (n, name) in accepted.iter().enumerate() {
                    let before = if n > 0 { "," } else { "; accepted:" };
                    write!(f, "{before} {}", name.syntax())?;
                }
                Ok(())
            }
            Self::MissingValue(got) => {
                write!(f, "syntax error: option '{}' needs a value", Shown(got))
            }
            Self::Repeated(got) => {
                write!(f, "syntax error: option '{}' is given twice", Shown(got))
            }
            Self::Needs(got, needed) => {
                write!(f, "syntax error: option '{got}' requires {needed}")
            }
            Self::Excluded(got, other) => {
                let got = Shown(got);
                write!(f, "syntax error: option '{got}' conflicts with {other}")
            }
            Self::Else(got) => write!(
                f,
                "syntax error: ELSE must be followed by FREE or CHARGE; got '{}'",
                Shown(got)
            ),
            Self::Value(error) => error.fmt(f),
        }
    }
}
