//! A call as words, and the names of options. All in any case.

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

/// The name of an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptionName {
    /// The number of tokens.
    Cost,
    /// The number of tokens that must remain.
    Keep,
    /// Take as many as there are.
    AtMost,
    /// Wait for them for at most this many milliseconds.
    MaxWait,
    /// Take them even if there are too few.
    Force,
    /// The time of the take.
    At,
    /// The number of items to return.
    Count,
    /// A repeated call with the same token charges nothing.
    Once,
    /// Only if the token holds no slot.
    Nx,
    /// The amount that a settlement leaves charged.
    Used,
    /// The fate of an overdue hold.
    Else,
    /// Wait for a slot for at most this many milliseconds.
    Wait,
    /// Wait only if fewer callers than this wait already.
    Queue,
}

impl OptionName {
    /// Returns the word.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Cost => "COST",
            Self::Keep => "KEEP",
            Self::AtMost => "ATMOST",
            Self::MaxWait => "MAXWAIT",
            Self::Force => "FORCE",
            Self::At => "AT",
            Self::Count => "COUNT",
            Self::Once => "ONCE",
            Self::Nx => "NX",
            Self::Used => "USED",
            Self::Else => "ELSE",
            Self::Wait => "WAIT",
            Self::Queue => "QUEUE",
        }
    }

    /// Returns the option with its value, as in a syntax line.
    pub const fn syntax(self) -> &'static str {
        match self {
            Self::Cost => "COST n",
            Self::Keep => "KEEP n",
            Self::MaxWait => "MAXWAIT ms",
            Self::Wait => "WAIT ms",
            Self::Queue => "QUEUE n",
            Self::At => "AT unix-ms",
            Self::Count => "COUNT n",
            Self::Used => "USED n",
            Self::Else => "ELSE FREE, ELSE CHARGE",
            Self::AtMost | Self::Force | Self::Once | Self::Nx => self.word(),
        }
    }
}
