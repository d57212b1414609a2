//! The words of the grammar: options, and what windows begin with. All in any case.

/// An option's name, in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    /// How many tokens.
    Cost,
    /// How many must be left.
    Keep,
    /// As many as there are.
    AtMost,
    /// Wait for them for so many milliseconds.
    MaxWait,
    /// Whether they are there or not.
    Force,
    /// When they were taken.
    At,
    /// How many to tell.
    Count,
    /// A call that was made before with this token changes nothing.
    Once,
}

impl Name {
    /// Those of RL.TAKE.
    pub const OF_TAKE: &'static [Self] = &[
        Self::Cost,
        Self::Keep,
        Self::AtMost,
        Self::MaxWait,
        Self::Force,
    ];
    /// Those of RL.WTAKE.
    pub const OF_WINDOW_TAKE: &'static [Self] =
        &[Self::Cost, Self::Keep, Self::AtMost, Self::Force];
    /// Those of RL.WGIVE.
    pub const OF_WINDOW_GIVE: &'static [Self] = &[Self::Cost, Self::At];
    /// Those of commands that know but one.
    pub const OF_COST: &'static [Self] = &[Self::Cost];
    /// Those of RL.ACQUIRE.
    pub const OF_ACQUIRE: &'static [Self] = &[Self::Keep];
    /// Those of a bucket or a window in RL.ALL.
    pub const OF_MIXED: &'static [Self] = &[Self::Cost, Self::Keep];
    /// Those of a lease in RL.ALL.
    pub const OF_MIXED_LEASE: &'static [Self] = &[Self::Keep, Self::Once];
    /// Those of RL.LEASES.
    pub const OF_LEASES: &'static [Self] = &[Self::Count];

    /// As one writes it.
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
        }
    }

    /// The option as one writes it.
    pub const fn syntax(self) -> &'static str {
        match self {
            Self::Cost => "COST n",
            Self::Keep => "KEEP n",
            Self::MaxWait => "MAXWAIT ms",
            Self::At => "AT unix-ms",
            Self::Count => "COUNT n",
            Self::AtMost | Self::Force | Self::Once => self.word(),
        }
    }
}

/// The words that windows begin with; durations apart.
pub(crate) const WINDOWS: [&str; 7] = ["SLIDING", "HOUR", "DAY", "WEEK", "MONTH", "YEAR", "UNTIL"];
/// What may follow a unit of the calendar.
pub(crate) const OFFSET: &str = "OFFSET";
/// What may follow a week or a month.
pub(crate) const ANCHOR: &str = "ANCHOR";
