//! One caller: how it stands, and what an operator may do about it.

use hyper::body::Bytes;
use hyper::header::{HeaderValue, CONTENT_TYPE};
use hyper::StatusCode;

use super::snapshot::standings;
use super::{failed, Admin};
use crate::http::{empty, text, Response};
use crate::limit::Limit;
use crate::log::log;

impl Admin {
    /// How somebody stands: `who:` and what the header or the address says, or `caller:` and the
    /// name that the page was told.
    pub async fn look(&self, asked: &str) -> Response {
        let caller = match asked.split_once(':') {
            Some(("who", text)) => self.limiter.key_by.of(text),
            Some(("caller", caller)) if self.is_ours(caller) => Ok(caller.to_owned()),
            _ => return no_such_caller(),
        };
        let caller = match caller {
            Ok(caller) => caller,
            Err(why) => return text(StatusCode::BAD_REQUEST, why),
        };
        match self.limiter.store.look(&self.limiter.demand, &caller).await {
            Err(error) => failed(&error),
            Ok(looks) => {
                let json = standings(&self.limiter, &caller, &looks);
                let mut response = text(StatusCode::OK, Bytes::from(json));
                let kind = HeaderValue::from_static("application/json");
                response.headers_mut().insert(CONTENT_TYPE, kind);
                response
            }
        }
    }

    /// Forgets what a caller has used of a limit: `index`, a line's end, and its name.
    pub async fn refill(&self, asked: &str) -> Response {
        let Some((key, limit, _)) = self.key_of(asked) else {
            return no_such_caller();
        };
        if let Err(error) = self.limiter.store.reset(&key, limit).await {
            return failed(&error);
        }
        log(&format!("Reset {}", key.escape_default()));
        empty(StatusCode::NO_CONTENT)
    }

    /// Frees a slot: the same, and then a line's end and the token that holds it.
    pub async fn free(&self, asked: &str) -> Response {
        let Some((key, _, token)) = self.key_of(asked) else {
            return no_such_caller();
        };
        match self.limiter.store.free(&key, token).await {
            Err(error) => failed(&error),
            Ok(false) => text(StatusCode::NOT_FOUND, "It holds no slot any more\n"),
            Ok(true) => {
                let (key, token) = (key.escape_default(), token.escape_default());
                log(&format!("Freed {key} of {token}"));
                empty(StatusCode::NO_CONTENT)
            }
        }
    }

    /// Forgets who was denied most.
    pub async fn forget(&self) -> Response {
        match self.limiter.store.forget_denied().await {
            Err(error) => failed(&error),
            Ok(()) => {
                log("Forgot who was denied most");
                empty(StatusCode::NO_CONTENT)
            }
        }
    }

    /// Nothing but what the limiter itself writes can be touched from here.
    fn is_ours(&self, caller: &str) -> bool {
        caller.starts_with(&self.limiter.key_by.prefix)
    }

    /// The key that is asked for, and what follows in the next line.
    fn key_of<'a>(&self, asked: &'a str) -> Option<(String, &dyn Limit, &'a str)> {
        let (index, rest) = asked.split_once('\n')?;
        let (caller, rest) = rest.split_once('\n').unwrap_or((rest, ""));
        let demand = &self.limiter.demand;
        let mut keys = demand.keys(caller).zip(&demand.limits);
        let (key, limit) = keys.nth(index.parse().ok()?)?;
        self.is_ours(caller).then_some((key, limit.as_ref(), rest))
    }
}

fn no_such_caller() -> Response {
    text(StatusCode::NOT_FOUND, "There is no such caller\n")
}
