//! The errors in the arguments of a call. Each part of the grammar has its own errors and their texts.

use std::fmt;

use crate::grammar::{bucket, hold, lease, options, parameter, window};

/// Why the words of a call were refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error<'a> {
    /// A number.
    Number(parameter::Error<'a>),
    /// A bucket's rate and burst.
    Bucket(bucket::Error<'a>),
    /// A window and its limit.
    Window(window::Error<'a>),
    /// A lease.
    Lease(lease::Error<'a>),
    /// A hold.
    Hold(hold::Error<'a>),
    /// The options.
    Options(options::Error<'a>),
}

impl fmt::Display for Error<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(error) => error.fmt(f),
            Self::Bucket(error) => error.fmt(f),
            Self::Window(error) => error.fmt(f),
            Self::Lease(error) => error.fmt(f),
            Self::Hold(error) => error.fmt(f),
            Self::Options(error) => error.fmt(f),
        }
    }
}

macro_rules! from {
    ($($variant:ident($part:ident))*) => {$(
        impl<'a> From<$part::Error<'a>> for Error<'a> {
            fn from(error: $part::Error<'a>) -> Self {
                Self::$variant(error)
            }
        }
    )*};
}

from! { Number(parameter) Bucket(bucket) Window(window) Lease(lease) Hold(hold) Options(options) }
