//! Grants slots to waiters, in a key that is open for writing.

use std::sync::Arc;

use redis_rl_limits::kinds::lease::{End, IfHeld, Limit};
use redis_rl_limits::waiting::queue::{Ticket, Turn, MAX_GRANTS};
use redis_rl_limits::waiting::queues::QueueId;

use super::alarm;
use super::registry::{self, with, Answer, Events, Slot};
use super::terms::Terms;
use crate::commands::lease::set::LeaseSet;
use crate::server::{Argument, Call, Names, Refusal};
use crate::stats::{self, LEASES};

/// The waiters that come before a newcomer.
#[derive(Clone, Copy, Debug)]
pub struct Ahead {
    /// Number of slots held after they were served.
    pub live: u64,
    /// Whether there are more of them than one command serves.
    pub is_cut: bool,
    /// Whether the newcomer's own token is among those that get a slot.
    pub has_own: bool,
}

/// A token whose turn has come, with its waiters.
struct Served {
    first: Ticket,
    token: Arc<[u8]>,
    callers: Vec<(Ticket, Terms)>,
}

fn queue(set: &LeaseSet<'_>) -> Option<QueueId> {
    let (db, key) = (set.db(), set.key());
    with(|registry| registry.queues.find(db, key))
}

/// Returns the waiters that come before a newcomer; `None` if there is nobody who could have a slot.
pub fn ahead(set: &mut LeaseSet<'_>, token: &[u8]) -> Option<Ahead> {
    let id = queue(set)?;
    let live = set.occupancy().live as u64;
    let names = set.names();
    with(|registry| {
        let queue = &registry.queues.place(id)?.queue;
        let holds = |token: &[u8]| set.own(&names.argument(token)).is_some();
        let plan = queue.plan(live, MAX_GRANTS, holds);
        if plan.is_empty() {
            return None;
        }
        let is_own = |turn: &Turn| {
            let waiter = queue.waiter(turn.ticket());
            waiter.is_some_and(|waiter| *waiter.token == *token)
        };
        let ahead = Ahead {
            live: plan.live,
            is_cut: plan.is_cut,
            has_own: plan.turns.iter().any(is_own),
        };
        // If the newcomer is denied, the timer serves them.
        registry.queues.set_due(id, Some(set.now_ms()));
        Some(ahead)
    })
}

/// Serves the waiters that could have a slot now, at most `most` tokens. Returns how many got one.
///
/// # Errors
/// The server refuses the write.
pub fn serve<'k>(set: &mut LeaseSet<'k>, names: &'k Names, most: usize) -> Result<usize, Refusal> {
    let Some(id) = queue(set) else {
        return Ok(0);
    };
    let live = set.occupancy().live as u64;
    let turns: Vec<Served> = with(|registry| {
        let Some(place) = registry.queues.place(id) else {
            return Vec::new();
        };
        let holds = |token: &[u8]| set.own(&names.argument(token)).is_some();
        let plan = place.queue.plan(live, most, holds);
        let turns = plan.turns.into_iter().filter_map(|turn| {
            let first = turn.ticket();
            let token = Arc::clone(&place.queue.waiter(first)?.token);
            let callers = registry.callers(id, &token);
            Some(Served {
                first,
                token,
                callers,
            })
        });
        turns.collect()
    });
    let granted = turns.len();
    for turn in turns {
        let token = names.argument(&turn.token);
        serve_token(set, &token, Some(turn.first), &turn.callers)?;
    }
    let due = next_end(set, 0);
    with(|registry| registry.queues.set_due(id, due));
    Ok(granted)
}

/// Releases the live leases of these tokens, and serves the waiters that could have a slot then, at
/// most `most` tokens. Returns the number released and the number served.
pub fn release<'k>(
    set: &mut LeaseSet<'k>,
    tokens: &[Argument<'k>],
    names: &'k Names,
    most: usize,
) -> (u64, usize) {
    let (released, latest) = set.free(tokens);
    let Some(latest) = latest else {
        return (0, 0);
    };
    let served = match registry::is_busy() {
        // A write that the server refuses leaves the rest to the timer.
        true => serve(set, names, most).unwrap_or(0),
        false => 0,
    };
    match served {
        0 => set.shrink(latest),
        // A waiter that was only denied has not set it.
        _ => {
            set.fit_expiry();
        }
    }
    (released, served)
}

/// Answers all waiters of a token, which holds a slot already or gets one for the `first` of them.
fn serve_token<'k>(
    set: &mut LeaseSet<'k>,
    token: &Argument<'k>,
    first: Option<Ticket>,
    callers: &[(Ticket, Terms)],
) -> Result<(), Refusal> {
    let held = set.occupancy();
    let own = set.own(token);
    let first = first.filter(|_| own.is_none());
    let gets =
        |ticket: Ticket, terms: Terms| first == Some(ticket) || terms.if_held == IfHeld::Renew;
    let takers = callers
        .iter()
        .filter(|&&(ticket, terms)| gets(ticket, terms));
    let promised_to = takers.clone().count();
    let ttl_ms = takers.map(|(_, terms)| terms.ttl_ms).max();
    let last = match (own, ttl_ms) {
        (Some(own), Some(ttl_ms)) => set.renew(held, own, token, ttl_ms)?,
        (None, Some(ttl_ms)) => set.grant(held, token, ttl_ms)?,
        (_, None) => End(0.0),
    };
    let live = match own {
        Some(_) => held.live,
        None => held.live.saturating_add(1),
    } as u64;
    let now_ms = set.now_ms();
    let reset_ms = match ttl_ms {
        Some(_) => last.millis_left(now_ms),
        None => set.reset_ms(),
    };
    let end = set.own(token).unwrap_or(End(0.0));
    let slot = Slot {
        db: set.db(),
        key: set.key().into(),
        token: token.bytes().into(),
    };
    let mut denied = 0;
    with(|registry| {
        if first.is_some() {
            registry.promise(slot.clone(), promised_to, end);
        }
        for &(ticket, terms) in callers {
            if gets(ticket, terms) {
                let reply = terms.limit.reply(1, live, 0, reset_ms);
                // Only a slot that was granted here can be taken back.
                let promised = first.is_some().then(|| slot.clone());
                registry.decide(ticket, Answer::Slot(reply), promised);
                match first == Some(ticket) {
                    true => LEASES.acquired.add(1),
                    false => LEASES.renewed.add(1),
                }
            } else {
                let reply = terms
                    .limit
                    .reply(0, live, end.millis_left(now_ms), reset_ms);
                registry.decide(ticket, Answer::Denied(reply), None);
                denied = u64::saturating_add(denied, 1);
            }
        }
        registry.events.acquired = registry
            .events
            .acquired
            .saturating_add(u64::from(ttl_ms.is_some()));
        registry.events.denied = registry.events.denied.saturating_add(denied);
    });
    Ok(())
}

/// Answers the waiters of a token whose caller is about to learn that it holds a slot.
///
/// # Errors
/// The server refuses the write.
pub fn answer_all<'k>(set: &mut LeaseSet<'k>, token: &Argument<'k>) -> Result<(), Refusal> {
    registry::confirm(set.db(), set.key(), token.bytes());
    if let Some(id) = queue(set) {
        let callers = with(|registry| registry.callers(id, token.bytes()));
        if !callers.is_empty() {
            serve_token(set, token, None, &callers)?;
        }
    }
    Ok(())
}

/// Returns when the next in line could be served, in milliseconds since 1970, where one more waiter
/// has this `room`; `None` if never.
pub fn next_end(set: &mut LeaseSet<'_>, room: u64) -> Option<i64> {
    let (db, key) = (set.db(), set.key());
    let largest = with(|registry| {
        let id = registry.queues.find(db, key)?;
        Some(registry.queues.place(id)?.queue.largest_room())
    });
    let room = room.max(largest.unwrap_or(0));
    let held = set.occupancy();
    let wait_ms = set.wait_ms(held, Limit::new(room, 0));
    (wait_ms >= 0).then(|| held.now_ms.saturating_add(wait_ms))
}

/// Notifies subscribers of the decisions on a key that is closed again, and makes the timer hand over
/// the answers and serve those who are next.
pub fn report(call: &Call<'_>, key: &Argument<'_>) {
    let events = with(|registry| std::mem::take(&mut registry.events));
    alarm::arm(call);
    notify(call, key, events);
}

/// Counts decisions on a key and notifies subscribers of them.
pub fn notify(call: &Call<'_>, key: &Argument<'_>, events: Events) {
    LEASES.denied.add(events.denied);
    for _ in 0..events.acquired {
        call.notify(c"rl.acquire", key);
    }
    for _ in 0..events.denied {
        stats::denied(key.bytes(), call.now());
        call.notify(c"rl.deny", key);
    }
}
