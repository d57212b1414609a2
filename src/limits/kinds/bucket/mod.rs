//! The token bucket: (state, now, limit, request) → decision, in exact integer arithmetic.
//!
//! Time is an argument, in nanoseconds since 1970.
//!
//! Functions are `inline(always)`, here and in those that they call, because that makes a denied
//! take 2 % cheaper.

mod limit;
mod standing;
mod state;
mod units;

pub use limit::Limit;
pub use standing::Standing;
pub use state::Bucket;
