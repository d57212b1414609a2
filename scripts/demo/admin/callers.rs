//! One caller: its state in each limit, and the button that refunds everything it used.

use std::time::Duration;

use hyper::StatusCode;
use serde_json::json;

use crate::http::{text, typed, Response};
use crate::limiter::Limiter;
use crate::log::log;
use crate::store::StoreError;

/// Returns the state of a caller: `who:` with the value of the header or the address, or `caller:`
/// with the name from a snapshot.
pub async fn look(limiter: &Limiter, asked: &[u8]) -> Response {
    let asked = String::from_utf8_lossy(asked);
    let caller = match asked.split_once(':') {
        Some(("who", text)) => limiter.key_by.of(text),
        Some(("caller", caller)) if is_ours(limiter, caller) => Ok(caller.to_owned()),
        _ => return no_such_caller(),
    };
    let caller = match caller {
        Ok(caller) => caller,
        Err(why) => return text(StatusCode::BAD_REQUEST, why),
    };
    let standings = match limiter.store.peek(&limiter.demand, &caller).await {
        Ok(standings) => standings,
        Err(error) => return failed(&error),
    };
    let millis = |time: Duration| u64::try_from(time.as_millis()).ok();
    let limits = limiter.demand.limits.iter().zip(standings);
    let limits = limits.map(|(limit, standing)| {
        json!({
            "name": limit.name,
            "kind": limit.kind(),
            "quota": limit.quota,
            "remaining": standing.remaining,
            "wait": standing.wait.and_then(millis),
            "reset": millis(standing.reset),
        })
    });
    let limits: Vec<_> = limits.collect();
    let told = json!({"caller": caller, "limits": limits});
    typed("application/json", told.to_string())
}

/// Gives a caller, by its whole name, back all that it used.
pub async fn reset(limiter: &Limiter, caller: &[u8]) -> Response {
    let caller = String::from_utf8_lossy(caller);
    // Nothing but what the limiter itself writes can be touched from here.
    if !is_ours(limiter, &caller) {
        return no_such_caller();
    }
    match limiter.store.reset(&limiter.demand, &caller).await {
        Err(error) => failed(&error),
        Ok(()) => {
            log(&format!("Reset {}", caller.escape_default()));
            text(StatusCode::NO_CONTENT, "")
        }
    }
}

fn is_ours(limiter: &Limiter, caller: &str) -> bool {
    caller.starts_with(&limiter.key_by.prefix)
}

fn no_such_caller() -> Response {
    text(StatusCode::NOT_FOUND, "There is no such caller\n")
}

fn failed(error: &StoreError) -> Response {
    text(StatusCode::BAD_GATEWAY, format!("{error}\n"))
}
