//! All waiters of all keys in one list, in order of arrival.

use std::collections::{BTreeMap, BTreeSet};

use redis_rl_limits::waiting::queue::{Plan, Ticket, Turn};

#[derive(Clone, Copy, Debug)]
pub struct Waiting {
    pub ticket: Ticket,
    pub key: u8,
    pub room: u64,
    pub token: u8,
    pub until: u64,
}

#[derive(Default)]
pub struct Model {
    pub waiting: Vec<Waiting>,
    dues: BTreeMap<u8, i64>,
    /// Keys in the order in which their queues were opened, with the number of the opening.
    keys: Vec<(u64, u8)>,
    opened: u64,
    checked: u64,
}

impl Model {
    pub fn of_key(&self, key: u8) -> impl Iterator<Item = &Waiting> {
        self.waiting.iter().filter(move |w| w.key == key)
    }

    pub fn of_token(&self, key: u8, token: u8) -> Vec<Ticket> {
        let same = self.of_key(key).filter(|w| w.token == token);
        same.map(|w| w.ticket).collect()
    }

    pub fn join(&mut self, waiter: Waiting) {
        if self.of_key(waiter.key).count() == 0 {
            self.opened += 1;
            self.keys.push((self.opened, waiter.key));
        }
        if let Some(last) = self.waiting.last() {
            assert!(waiter.ticket > last.ticket);
        }
        self.waiting.push(waiter);
    }

    pub fn leave(&mut self, ticket: Ticket) -> Waiting {
        let at = self.waiting.iter().position(|w| w.ticket == ticket);
        let gone = self.waiting.remove(at.expect("a waiter"));
        if self.of_key(gone.key).count() == 0 {
            self.keys.retain(|&(_, key)| key != gone.key);
            self.dues.remove(&gone.key);
        }
        gone
    }

    pub fn first_timeout(&self) -> Option<(u64, Ticket)> {
        self.waiting.iter().map(|w| (w.until, w.ticket)).min()
    }

    pub fn set_due(&mut self, key: u8, at: Option<i64>) {
        match at {
            Some(at) => self.dues.insert(key, at),
            None => self.dues.remove(&key),
        };
    }

    pub fn first_due(&self) -> Option<i64> {
        self.dues.values().min().copied()
    }

    /// The key that was opened next after the one checked last, or else the first.
    pub fn turn(&mut self) -> Option<u8> {
        let next = self.keys.iter().find(|(opened, _)| *opened > self.checked);
        let &(opened, key) = next.or_else(|| self.keys.first())?;
        self.checked = opened;
        Some(key)
    }

    /// Serves one after the other: the earliest that could have a slot.
    pub fn plan(&self, key: u8, live: u64, most: usize, held: &BTreeSet<(u8, u8)>) -> Plan {
        let mut plan = Plan {
            live,
            ..Plan::default()
        };
        let mut served = BTreeSet::new();
        loop {
            let mut waiters = self.of_key(key);
            let could = waiters.find(|w| w.room > plan.live && !served.contains(&w.token));
            let Some(next) = could else {
                return plan;
            };
            if plan.turns.len() == most {
                plan.is_cut = true;
                return plan;
            }
            served.insert(next.token);
            if held.contains(&(key, next.token)) {
                plan.turns.push(Turn::Held(next.ticket));
            } else {
                plan.turns.push(Turn::Grant(next.ticket));
                plan.live += 1;
            }
        }
    }
}
