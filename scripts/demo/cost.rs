//! The cost of a request.

use hyper::header::HeaderName;
use redis_rl_limits::grammar::number::plain_integer;

use crate::http::{single, Request};

/// The source of a request's cost.
pub struct Costs {
    /// The default cost.
    pub usual: u64,
    /// The greatest cost that every limit can allow.
    pub most: u64,
    /// The header with the cost, if enabled.
    pub header: Option<HeaderName>,
}

impl Costs {
    /// Returns the cost of `request`.
    ///
    /// # Errors
    /// The header is not a number, or is out of bounds; contains the answer.
    pub fn of(&self, request: &Request) -> Result<u64, String> {
        let Some(name) = &self.header else {
            return Ok(self.usual);
        };
        let Some(value) = single(request.headers(), name)? else {
            return Ok(self.usual);
        };
        let (cost, most) = (plain_integer(value.as_bytes(), 1..=self.most), self.most);
        cost.ok_or_else(|| format!("The header {name} must be a whole number from 1 to {most}\n"))
    }
}
