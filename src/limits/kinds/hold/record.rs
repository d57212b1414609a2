//! The record under an id: the amounts that an open hold holds, or that the id was settled or
//! closed.

use crate::bounds::{MAX_COST, MAX_HELD_LIMITS, MAX_HELD_NAMES};

/// A record counts its limits in one byte, and the length of a name in two.
const _: () = assert!(MAX_HELD_LIMITS <= u8::MAX as usize && MAX_HELD_NAMES <= u16::MAX as usize);

pub(super) const OPEN: u8 = 1;
pub(super) const SETTLED: u8 = 2;
pub(super) const CLOSED: u8 = 3;

/// The flag of a hold that is refunded if nobody settles it.
const ELSE_FREE: u8 = 1;
/// Added to the kind of a limit whose amount was refunded.
pub(super) const REFUNDED: u8 = 128;

/// Kinds of limit that a hold can hold an amount of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A bucket.
    Bucket = 0,
    /// A window, fixed or sliding.
    Window = 1,
}

/// A limit as a record names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limited<'a> {
    /// Bucket or window.
    pub kind: Kind,
    /// Name of its key.
    pub name: &'a [u8],
}

/// The charge of a hold to one limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charge<'a> {
    /// The limit.
    pub limit: Limited<'a>,
    /// The estimate.
    pub cost: u64,
    /// The time of the charge, as [`Holdable::charged_at`](super::Holdable::charged_at) returns it.
    pub at: i64,
    /// Whether the amount was refunded when the hold was overdue.
    pub refunded: bool,
}

impl Charge<'_> {
    /// Returns the amount that the limit still holds.
    pub fn held(&self) -> u64 {
        match self.refunded {
            true => 0,
            false => self.cost,
        }
    }
}

/// An open hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Open<'a> {
    /// Whether an overdue hold is refunded.
    pub else_free: bool,
    /// The time from which the hold is overdue, in Unix milliseconds.
    pub deadline: i64,
    /// The time from which the id is unknown, in Unix milliseconds.
    pub forget_at: i64,
    /// The stored charges; [`Record::parse`] checked them.
    charges: &'a [u8],
}

/// The record under an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record<'a> {
    /// The hold waits for its settlement.
    Open(Open<'a>),
    /// It was settled. The id is unknown from this time on, in Unix milliseconds.
    Settled(i64),
    /// A settlement came before the hold. The id is unknown from this time on.
    Closed(i64),
}

impl<'a> Record<'a> {
    /// Parses the stored form; `None` if the bytes are anything else.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (&tag, rest) = bytes.split_first()?;
        match tag {
            OPEN => Open::parse(rest).map(Self::Open),
            SETTLED | CLOSED => {
                let forget_at = i64::from_le_bytes(rest.try_into().ok()?);
                Some(match tag {
                    SETTLED => Self::Settled(forget_at),
                    _ => Self::Closed(forget_at),
                })
            }
            _ => None,
        }
    }

    /// Returns the time from which the id is unknown, in Unix milliseconds.
    pub fn forget_at(&self) -> i64 {
        match *self {
            Self::Open(open) => open.forget_at,
            Self::Settled(at) | Self::Closed(at) => at,
        }
    }

    /// Returns whether the id is forgotten at `now_ms`.
    pub fn is_forgotten(&self, now_ms: i64) -> bool {
        self.forget_at() <= now_ms
    }
}

impl<'a> Open<'a> {
    fn parse(rest: &'a [u8]) -> Option<Self> {
        let (&[flags, count], rest) = rest.split_first_chunk()?;
        let (&deadline, rest) = rest.split_first_chunk()?;
        let (&forget_at, charges) = rest.split_first_chunk()?;
        let count = usize::from(count);
        let mut left = charges;
        let mut names: usize = 0;
        for _ in 0..count {
            let (charge, rest) = split_charge(left)?;
            names = names.saturating_add(charge.limit.name.len());
            left = rest;
        }
        let is_valid = flags <= ELSE_FREE
            && (1..=MAX_HELD_LIMITS).contains(&count)
            && names <= MAX_HELD_NAMES
            && left.is_empty();
        is_valid.then_some(Self {
            else_free: flags == ELSE_FREE,
            deadline: i64::from_le_bytes(deadline),
            forget_at: i64::from_le_bytes(forget_at),
            charges,
        })
    }

    /// Returns the charges, in the order of the reservation.
    pub fn charges(&self) -> impl Iterator<Item = Charge<'a>> + Clone {
        let mut left = self.charges;
        std::iter::from_fn(move || {
            let (charge, rest) = split_charge(left)?;
            left = rest;
            Some(charge)
        })
    }

    /// Returns the charge to a limit, if the hold has one.
    pub fn charge_to(&self, limit: Limited<'_>) -> Option<Charge<'a>> {
        self.charges().find(|charge| charge.limit == limit)
    }

    /// Returns whether the hold was made for exactly these limits, in any order.
    pub fn is_for<'l>(&self, limits: impl ExactSizeIterator<Item = Limited<'l>>) -> bool {
        let mut limits = limits;
        limits.len() == self.charges().count() && limits.all(|l| self.charge_to(l).is_some())
    }

    /// Returns whether its deadline has passed.
    pub fn is_overdue(&self, now_ms: i64) -> bool {
        self.deadline <= now_ms
    }

    /// Milliseconds until its deadline; negative once it is overdue.
    pub fn millis_left(&self, now_ms: i64) -> i64 {
        self.deadline.saturating_sub(now_ms)
    }

    /// Returns whether an amount will be refunded if nobody settles the hold.
    pub fn is_refundable(&self) -> bool {
        self.else_free && self.charges().any(|charge| charge.held() > 0)
    }

    /// Returns the time from which a walk may have something to do for it, in Unix milliseconds.
    pub fn due(&self) -> i64 {
        match self.is_refundable() {
            true => self.deadline.min(self.forget_at),
            false => self.forget_at,
        }
    }
}

/// Splits off the first stored charge; returns it with the remaining bytes.
fn split_charge(bytes: &[u8]) -> Option<(Charge<'_>, &[u8])> {
    let (&[kind], rest) = bytes.split_first_chunk()?;
    let (&cost, rest) = rest.split_first_chunk()?;
    let (&at, rest) = rest.split_first_chunk()?;
    let (&length, rest) = rest.split_first_chunk()?;
    let (name, rest) = rest.split_at_checked(u16::from_le_bytes(length).into())?;
    let kind_of = |byte| match byte {
        0 => Some(Kind::Bucket),
        1 => Some(Kind::Window),
        _ => None,
    };
    let cost = u64::from_le_bytes(cost);
    let charge = Charge {
        limit: Limited {
            kind: kind_of(kind & !REFUNDED)?,
            name,
        },
        cost,
        at: i64::from_le_bytes(at),
        refunded: kind & REFUNDED != 0,
    };
    (cost <= MAX_COST).then_some((charge, rest))
}
