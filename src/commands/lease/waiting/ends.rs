//! The end of a caller's wait. Nothing here writes to a key.

use std::sync::Arc;

use redis_rl_limits::kinds::decision::NEVER;
use redis_rl_limits::waiting::queue::Ticket;

use super::alarm;
use super::registry::{with, Answer, Events};
use super::serve;
use super::terms::Terms;
use crate::commands::lease::look::Look;
use crate::server::{Argument, Call};

/// Hands over the answer of a caller that was unblocked.
pub fn answer(call: &mut Call<'_>, number: u64) {
    if let Some(answer) = with(|registry| registry.hand_over(number)) {
        send(call, &answer);
    }
}

/// Ends the wait of a caller at once (CLIENT UNBLOCK), with the answer that it has, or a denial.
pub fn interrupt(call: &mut Call<'_>, number: u64) {
    deny(call, Ticket(number));
    let answer = with(|registry| {
        registry.forget_ready(number);
        registry.hand_over(number)
    });
    if let Some(answer) = answer {
        send(call, &answer);
    }
    alarm::arm(call);
}

/// Forgets a caller that is gone.
pub fn lost(call: &mut Call<'_>, number: u64) {
    let is_paused = call.is_paused();
    with(|registry| {
        registry.forget(number);
        if is_paused {
            // Nothing may be written: these slots expire with their ttl.
            registry.abandoned.clear();
        }
    });
    alarm::arm(call);
}

fn send(call: &Call<'_>, answer: &Answer) {
    match answer {
        Answer::Slot(reply) | Answer::Denied(reply) => call.reply_integers(&reply.fields()),
        Answer::Error(text) => call.reply_error(text),
    }
}

/// Ends the wait of a caller with an ordinary denial as of now, if it still waits.
pub fn deny(call: &mut Call<'_>, ticket: Ticket) {
    let waits = with(|registry| {
        let place = registry.queues.place(registry.queues.queue_of(ticket)?)?;
        let terms = place.queue.waiter(ticket)?.call;
        Some((place.db, Arc::clone(&place.key), terms))
    });
    let Some((db, key, terms)) = waits else {
        return;
    };
    call.select(db);
    let names = call.names();
    let name = names.argument(&key);
    let answer = denial(call, &name, terms);
    let is_denial = matches!(answer, Answer::Denied(_));
    with(|registry| registry.decide(ticket, answer, None));
    if is_denial {
        let events = Events {
            acquired: 0,
            denied: 1,
        };
        serve::notify(call, &name, events);
    }
}

fn denial(call: &mut Call<'_>, name: &Argument<'_>, terms: Terms) -> Answer {
    match Look::at(call, name) {
        Ok(mut look) => {
            let wait_ms = match look.wait_ms(terms.limit) {
                NEVER => NEVER,
                wait_ms => wait_ms.max(1),
            };
            let live = look.held.live as u64;
            Answer::Denied(terms.limit.reply(0, live, wait_ms, look.reset_ms()))
        }
        Err(error) => {
            error.count();
            Answer::Error(error.text())
        }
    }
}
