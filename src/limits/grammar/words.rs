//! The words of the grammar: options, and the first words of windows. All are case-insensitive.

/// The name of an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
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
}

impl Name {
    /// The options of RL.TAKE.
    pub const OF_TAKE: &'static [Self] = &[
        Self::Cost,
        Self::Keep,
        Self::AtMost,
        Self::MaxWait,
        Self::Force,
    ];
    /// The options of RL.WTAKE.
    pub const OF_WINDOW_TAKE: &'static [Self] =
        &[Self::Cost, Self::Keep, Self::AtMost, Self::Force];
    /// The options of RL.WGIVE.
    pub const OF_WINDOW_GIVE: &'static [Self] = &[Self::Cost, Self::At];
    /// The options of commands that only accept COST.
    pub const OF_COST: &'static [Self] = &[Self::Cost];
    /// The options of RL.ACQUIRE.
    pub const OF_ACQUIRE: &'static [Self] = &[Self::Keep, Self::Nx];
    /// The options of a bucket or a window in RL.ALL.
    pub const OF_MIXED: &'static [Self] = &[Self::Cost, Self::Keep];
    /// The options of a lease in RL.ALL.
    pub const OF_MIXED_LEASE: &'static [Self] = &[Self::Keep, Self::Once];
    /// The options of RL.LEASES.
    pub const OF_LEASES: &'static [Self] = &[Self::Count];

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
        }
    }

    /// Returns the option with its value, as in a syntax line.
    pub const fn syntax(self) -> &'static str {
        match self {
            Self::Cost => "COST n",
            Self::Keep => "KEEP n",
            Self::MaxWait => "MAXWAIT ms",
            Self::At => "AT unix-ms",
            Self::Count => "COUNT n",
            Self::AtMost | Self::Force | Self::Once | Self::Nx => self.word(),
        }
    }
}

/// The words with which windows begin, except durations.
pub(crate) const WINDOWS: [&str; 7] = ["SLIDING", "HOUR", "DAY", "WEEK", "MONTH", "YEAR", "UNTIL"];
/// May follow a calendar unit.
pub(crate) const OFFSET: &str = "OFFSET";
/// May follow WEEK or MONTH.
pub(crate) const ANCHOR: &str = "ANCHOR";
