//! The timer's run: it grants the slots of leases that expired, ends waits whose time is up, and
//! finds changes that no command of ours has made.

use std::sync::Arc;

use redis_rl_limits::kinds::lease::{End, Limit};
use redis_rl_limits::waiting::queue::{Ticket, MAX_GRANTS};
use redis_rl_limits::waiting::queues::QueueId;

use super::alarm::{arm, now_ms, ROUND_MS};
use super::ends;
use super::registry::{self, with, Answer, Slot};
use super::serve::{release, report, serve};
use crate::commands::lease::look::Look;
use crate::commands::lease::set::LeaseSet;
use crate::server::{Argument, Call, Served};
use crate::stats::LEASES;

/// Maximum number of keys that one run checks in turn, and of those that are due.
const KEYS_A_RUN: usize = 256;
/// Maximum number of waits that one run ends.
const ENDS_A_RUN: usize = 512;

/// The remaining work that one run may do.
struct Budget {
    grants: usize,
    ends: usize,
    /// Whether the server would let a client write; asked once, when it matters.
    may_write: Option<bool>,
}

impl Budget {
    fn may_write(&mut self, call: &mut Call<'_>) -> bool {
        *self.may_write.get_or_insert_with(|| call.may_write())
    }
}

/// Hands over answers, takes back lost slots, serves waiters and ends waits.
pub fn tick(call: &mut Call<'_>) {
    hand_over(call);
    let mut budget = Budget {
        grants: MAX_GRANTS,
        ends: ENDS_A_RUN,
        may_write: None,
    };
    take_back(call, &mut budget);
    check_due(call, &mut budget);
    check_in_turn(call, &mut budget);
    end_waits(call, &mut budget);
    hand_over(call);
    arm(call);
}

/// Schedules a check of all keys, after the server has emptied or swapped databases.
pub fn swept(call: &mut Call<'_>) {
    if registry::is_busy() {
        with(|registry| registry.sweep = registry.queues.keys());
        arm(call);
    }
}

/// Acts on a new `rl.max-waiters`: 0 ends all waits.
pub fn apply_most(call: &mut Call<'_>) {
    if registry::is_busy() {
        arm(call);
    }
}

/// Lets the server ask for the answers that were decided.
fn hand_over(call: &Call<'_>) {
    for number in with(|registry| std::mem::take(&mut registry.ready)) {
        call.unblock(number);
    }
}

/// Frees the slots of callers that were gone before they were told, for those behind them.
fn take_back(call: &mut Call<'_>, budget: &mut Budget) {
    for (slot, end) in with(|registry| std::mem::take(&mut registry.abandoned)) {
        // If nothing may be written, the slot expires with its ttl.
        if budget.may_write(call) {
            take_back_slot(call, &slot, end, budget);
        }
    }
}

fn take_back_slot(call: &mut Call<'_>, slot: &Slot, end: End, budget: &mut Budget) {
    call.select(slot.db);
    let names = call.names();
    let name = names.argument(&slot.key);
    if call.served(&name) != Served::Here {
        return;
    }
    let Ok(mut set) = LeaseSet::open(call, &name) else {
        return;
    };
    let token = names.argument(&slot.token);
    if set.own(&token) != Some(end) {
        return;
    }
    let (_, served) = release(&mut set, &[token], &names, budget.grants);
    drop(set);
    budget.grants = budget.grants.saturating_sub(served);
    LEASES.released.add(1);
    call.notify(c"rl.release", &name);
    report(call, &name);
}

/// Checks the keys in which a lease has expired.
fn check_due(call: &mut Call<'_>, budget: &mut Budget) {
    let now_ms = now_ms(call);
    for _ in 0..KEYS_A_RUN {
        let due = with(|registry| registry.queues.first_due());
        let Some((_, id)) = due.filter(|&(at, _)| at <= now_ms) else {
            return;
        };
        if budget.grants == 0 {
            return;
        }
        check(call, id, budget);
    }
}

/// Checks the next keys in turn, or all if databases were emptied or swapped.
fn check_in_turn(call: &mut Call<'_>, budget: &mut Budget) {
    let mono_ms = call.monotonic_ms();
    let keys = with(|registry| {
        let mut keys = 0;
        if registry.next_check_ms <= mono_ms {
            registry.next_check_ms = mono_ms.saturating_add(ROUND_MS);
            keys = registry.queues.keys();
        }
        registry.sweep = registry.sweep.min(registry.queues.keys());
        let keys = keys.max(registry.sweep).min(KEYS_A_RUN);
        registry.sweep = registry.sweep.saturating_sub(keys);
        keys
    });
    for _ in 0..keys {
        let Some(id) = with(|registry| registry.queues.turn()) else {
            return;
        };
        check(call, id, budget);
    }
}

/// Ends the waits whose time is up, or all if nobody may wait any more.
fn end_waits(call: &mut Call<'_>, budget: &mut Budget) {
    let mono_ms = call.monotonic_ms();
    let all = registry::most() == 0;
    while budget.ends > 0 {
        let first = with(|registry| registry.queues.first_timeout());
        let Some((_, ticket)) = first.filter(|&(at, _)| all || at <= mono_ms) else {
            return;
        };
        ends::deny(call, ticket);
        budget.ends = budget.ends.saturating_sub(1);
    }
}

/// Checks a key: who can be served is, if the key is ours to write.
fn check(call: &mut Call<'_>, id: QueueId, budget: &mut Budget) {
    let place = with(|registry| {
        let place = registry.queues.place(id)?;
        Some((place.db, Arc::clone(&place.key)))
    });
    let Some((db, key)) = place else {
        return;
    };
    with(|registry| registry.queues.set_due(id, None));
    call.select(db);
    let names = call.names();
    let name = names.argument(&key);
    match call.served(&name) {
        Served::Here => {}
        Served::Elsewhere => {
            let text = "TRYAGAIN the hash slot of this key has moved or is migrating";
            return end_all(call, id, text, budget);
        }
        Served::Nowhere => return,
    }
    let (is_next, due) = match look(call, &name, id) {
        Ok(found) => found,
        Err(text) => return end_all(call, id, &text, budget),
    };
    with(|registry| registry.queues.set_due(id, due));
    if !is_next {
        return;
    }
    let may_write = budget.may_write(call);
    if !may_write || budget.grants == 0 {
        // Found again by the next round of checks, or by the next run.
        let again = may_write.then(|| now_ms(call));
        return with(|registry| registry.queues.set_due(id, again));
    }
    if let Ok(mut set) = LeaseSet::open(call, &name) {
        let served = serve(&mut set, &names, budget.grants).unwrap_or(0);
        budget.grants = budget.grants.saturating_sub(served);
    }
    report(call, &name);
}

/// Returns whether a waiter could be served now, and otherwise when.
///
/// # Errors
/// The key holds something else; returns the error's text.
fn look(
    call: &mut Call<'_>,
    name: &Argument<'_>,
    id: QueueId,
) -> Result<(bool, Option<i64>), Box<str>> {
    let room = with(|registry| Some(registry.queues.place(id)?.queue.largest_room())).unwrap_or(0);
    let now_ms = now_ms(call);
    let mut look = Look::at(call, name).map_err(|error| {
        error.count();
        error.text()
    })?;
    let wait_ms = look.wait_ms(Limit::new(room, 0));
    let due = (wait_ms >= 0).then(|| now_ms.saturating_add(wait_ms));
    Ok((wait_ms == 0, due))
}

/// Ends all waits for a key with an error.
fn end_all(call: &Call<'_>, id: QueueId, text: &str, budget: &mut Budget) {
    with(|registry| {
        while budget.ends > 0 {
            let place = registry.queues.place(id);
            let Some(ticket): Option<Ticket> = place.and_then(|place| place.queue.first()) else {
                return;
            };
            registry.decide(ticket, Answer::Error(text.into()), None);
            budget.ends = budget.ends.saturating_sub(1);
        }
        registry.queues.set_due(id, Some(now_ms(call)));
    });
}
