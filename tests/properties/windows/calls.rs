//! Calls as adversaries make them: of what is left and one more, at the instants where something
//! comes free and a nanosecond before.

use proptest::prelude::*;

use crate::cases::any_size;
use crate::oracle::{Ask, Call, Mode, MAX_LENGTH, MAX_TOKENS, MILLI};

/// An amount, relative to the last reply.
#[derive(Clone, Copy, Debug)]
pub enum Amount {
    Tokens(u64),
    /// The remaining amount.
    Left,
    OneMoreThanLeft,
}

impl Amount {
    fn of(self, last: [i64; 5]) -> u64 {
        let left = last[2].unsigned_abs();
        let tokens = match self {
            Self::Tokens(tokens) => tokens,
            Self::Left => left,
            Self::OneMoreThanLeft => left + 1,
        };
        tokens.clamp(1, MAX_TOKENS)
    }
}

/// A call, as seen from the last reply and from now.
#[derive(Clone, Copy, Debug)]
pub enum Aim {
    Take(Amount, u64, Mode),
    Look(Amount, u64),
    Give(Amount),
    /// A refund of a take this many milliseconds ago.
    GiveOf(Amount, u64),
    /// A refund with an AT this many milliseconds ahead.
    GiveAhead(Amount, u64),
}

impl Aim {
    pub fn call(self, now: u64, last: [i64; 5]) -> Call {
        let ms = now / MILLI;
        match self {
            Self::Take(amount, keep, mode) => {
                let keep = if mode == Mode::Force { 0 } else { keep };
                let cost = amount.of(last);
                Call::Take(Ask { cost, keep, mode })
            }
            Self::Look(amount, keep) => Call::Look(Ask {
                cost: amount.of(last),
                keep,
                mode: Mode::Whole,
            }),
            Self::Give(amount) => Call::Give(amount.of(last), None),
            Self::GiveOf(amount, ago) => Call::Give(amount.of(last), Some(ms.saturating_sub(ago))),
            Self::GiveAhead(amount, ahead) => Call::Give(amount.of(last), Some(ms + ahead)),
        }
    }
}

fn amounts() -> impl Strategy<Value = Amount> {
    prop_oneof![
        8 => (1..=12_u64).prop_map(Amount::Tokens),
        1 => any_size(1..=MAX_TOKENS).prop_map(Amount::Tokens),
        2 => Just(Amount::Left),
        2 => Just(Amount::OneMoreThanLeft),
    ]
}

fn keeps() -> impl Strategy<Value = u64> {
    prop_oneof![5 => Just(0), 2 => 1..=5_u64, 1 => any_size(1..=MAX_TOKENS)]
}

pub fn takes() -> impl Strategy<Value = Aim> {
    let modes = prop_oneof![3 => Just(Mode::Whole), 2 => Just(Mode::AtMost)];
    (amounts(), keeps(), modes).prop_map(|(amount, keep, mode)| Aim::Take(amount, keep, mode))
}

pub fn aims() -> impl Strategy<Value = Aim> {
    prop_oneof![
        8 => takes(),
        1 => amounts().prop_map(|amount| Aim::Take(amount, 0, Mode::Force)),
        2 => (amounts(), keeps()).prop_map(|(amount, keep)| Aim::Look(amount, keep)),
        1 => amounts().prop_map(Aim::Give),
        2 => (amounts(), any_size(0..=MAX_LENGTH)).prop_map(|(n, ago)| Aim::GiveOf(n, ago)),
        1 => (amounts(), any_size(0..=MAX_LENGTH)).prop_map(|(n, ahead)| Aim::GiveAhead(n, ahead)),
    ]
}

/// The movement of the clock between two calls.
#[derive(Clone, Copy, Debug)]
pub enum Tick {
    Nanos(u64),
    /// This many sixteenths of a length, plus or minus some nanoseconds.
    Parts(u64, i64),
    /// The last caller's wait, minus this many nanoseconds.
    Wait(u64),
    /// Until everything is unused, minus this many nanoseconds.
    Reset(u64),
}

impl Tick {
    /// Returns the nanoseconds.
    pub fn nanos(self, length: u64, last: [i64; 5]) -> u64 {
        let millis = |ms: i64| ms.max(0).unsigned_abs().saturating_mul(MILLI);
        match self {
            Self::Nanos(nanos) => nanos,
            Self::Parts(parts, more) => {
                let nanos = u128::from(length) * u128::from(parts) * u128::from(MILLI) / 16;
                let nanos = u64::try_from(nanos).unwrap_or(u64::MAX);
                nanos.saturating_add_signed(more)
            }
            Self::Wait(less) => millis(last[3]).saturating_sub(less),
            Self::Reset(less) => millis(last[4]).saturating_sub(less),
        }
    }
}

fn slips() -> impl Strategy<Value = u64> {
    prop::sample::select(vec![0, 0, 1, MILLI, MILLI + 1])
}

/// Generates forward movements of the clock.
pub fn ticks() -> impl Strategy<Value = Tick> {
    let slip = prop::sample::select(vec![0, 0, 1, -1, 1_000_000, -1_000_000, 999_999]);
    prop_oneof![
        2 => Just(Tick::Nanos(0)),
        2 => any_size(0..=MAX_LENGTH * MILLI / 20).prop_map(Tick::Nanos),
        5 => (0..=20_u64, slip).prop_map(|(parts, slip)| Tick::Parts(parts, slip)),
        2 => slips().prop_map(Tick::Wait),
        2 => slips().prop_map(Tick::Reset),
    ]
}

/// Generates clock steps back, or none.
pub fn steps_back() -> impl Strategy<Value = Option<Tick>> {
    prop_oneof![6 => Just(None), 1 => ticks().prop_map(Some)]
}
