//! What a request costs.

use hyper::header::HeaderName;
use redis_rl_limits::grammar::number::plain_integer;

use crate::http::Request;

/// How a request's cost is told.
pub struct Costs {
    /// What a request costs that does not say.
    pub usual: u64,
    /// More than so much no limit would ever let pass.
    pub most: u64,
    /// Where a request says it, if it may.
    pub header: Option<HeaderName>,
}

impl Costs {
    /// What `request` costs.
    ///
    /// # Errors
    /// It says no number, or one that is not accepted; what to tell it.
    pub fn of(&self, request: &Request) -> Result<u64, String> {
        let Some(name) = &self.header else {
            return Ok(self.usual);
        };
        let mut values = request.headers().get_all(name).iter();
        match (values.next(), values.next()) {
            (None, _) => Ok(self.usual),
            (Some(value), None) => {
                let cost = plain_integer(value.as_bytes(), 1..=self.most);
                let most = self.most;
                cost.ok_or_else(|| {
                    format!("The header {name} must be a whole number from 1 to {most}\n")
                })
            }
            (Some(_), Some(_)) => Err(format!("The header {name} comes twice\n")),
        }
    }
}
