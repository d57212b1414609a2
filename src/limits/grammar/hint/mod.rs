//! Hints: what to write instead of an invalid rate, duration, window or offset. They are computed only after an
//! error, so that parsing a valid one stays fast.

mod duration;
mod rate;
mod unit;

pub(crate) use duration::{is_window_word, Offset, Ttl, Window};
pub(crate) use rate::Rate;
