//! The oracle of holds, written from the contract: the amount that each hold has in each window, and
//! the effect of a walk. Shares no line with the crate.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use super::windows::{self, decide, Call, Hold, Named, Stored};

const MINUTE: i64 = 60_000;

/// A window of a call: its key, limit, and the window that the call names.
#[derive(Clone, Debug)]
pub struct Limit {
    pub key: String,
    pub limit: u64,
    pub named: Named,
    /// COST and KEEP, or USED and 0.
    pub amount: u64,
    pub keep: u64,
}

#[derive(Clone, Debug, PartialEq)]
struct Held {
    key: String,
    cost: u64,
    at: i64,
    refunded: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum Record {
    Open {
        free: bool,
        deadline: i64,
        forget: i64,
        held: Vec<Held>,
    },
    Settled(i64),
    Closed(i64),
}

impl Record {
    fn forget(&self) -> i64 {
        match self {
            Self::Open { forget, .. } => *forget,
            Self::Settled(at) | Self::Closed(at) => *at,
        }
    }

    fn due(&self) -> i64 {
        match self {
            Self::Open {
                free: true,
                deadline,
                forget,
                held,
            } if held.iter().any(|h| !h.refunded && h.cost > 0) => *deadline.min(forget),
            _ => self.forget(),
        }
    }

    fn is_open(&self) -> bool {
        matches!(self, Self::Open { .. })
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self {
            Self::Settled(at) | Self::Closed(at) => {
                bytes.push(if matches!(self, Self::Settled(_)) {
                    2
                } else {
                    3
                });
                bytes.extend(at.to_le_bytes());
            }
            Self::Open {
                free,
                deadline,
                forget,
                held,
            } => {
                bytes.extend([1, u8::from(*free), held.len() as u8]);
                bytes.extend(deadline.to_le_bytes());
                bytes.extend(forget.to_le_bytes());
                for h in held {
                    bytes.push(if h.refunded { 129 } else { 1 });
                    bytes.extend(h.cost.to_le_bytes());
                    bytes.extend(h.at.to_le_bytes());
                    bytes.extend((h.key.len() as u16).to_le_bytes());
                    bytes.extend(h.key.as_bytes());
                }
            }
        }
        bytes
    }
}

/// The reply of a call: an error's beginning, or the first number and what each window moved by.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    Error(&'static str),
    Reply(i64, Vec<i64>),
}

/// A holds key and the windows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Model {
    records: BTreeMap<String, Record>,
    walked: i64,
    due: i64,
    open: u64,
    /// When the hash expires: exact after a walk and when nothing is open, else never too early.
    pub expires: i64,
    /// The earliest time to which the next record may set that.
    least: i64,
    pub windows: BTreeMap<String, Vec<u8>>,
    pub walks: i64,
}

impl Model {
    /// Every field of the hash.
    pub fn hash(&self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let mut fields: BTreeMap<_, _> = self
            .records
            .iter()
            .map(|(id, record)| (id.clone().into_bytes(), record.bytes()))
            .collect();
        if !fields.is_empty() {
            let words = [self.walked, self.due, self.open as i64];
            let words = words.iter().flat_map(|word| word.to_le_bytes());
            fields.insert(
                b"rl:holds".to_vec(),
                std::iter::once(0xF4).chain(words).collect(),
            );
        }
        fields
    }

    /// Removes what has expired: windows that ended, and the hash with its last record.
    pub fn expire(&mut self, now: i64) {
        self.windows.retain(|_, bytes| counts(bytes, now));
        if self.expires < now {
            self.records.clear();
        }
    }

    fn window(&mut self, limit: &Limit, now: i64, call: Call) -> windows::Outcome {
        let stored = self.windows.get(&limit.key).map(Vec::as_slice);
        let nanos = now as u64 * 1_000_000;
        let outcome = decide(limit.limit, limit.named, stored, nanos, call).expect("a window");
        self.moved(limit, outcome)
    }

    /// Lets a window hold another amount. Returns by how much it moved.
    fn hold_instead(&mut self, limit: &Limit, now: i64, hold: Hold) -> i64 {
        let stored = self.windows.get(&limit.key).map(Vec::as_slice);
        let nanos = now as u64 * 1_000_000;
        let outcome = windows::hold_instead(limit.limit, limit.named, stored, nanos, hold);
        self.moved(limit, outcome.expect("a window")).reply[0]
    }

    fn moved(&mut self, limit: &Limit, outcome: windows::Outcome) -> windows::Outcome {
        match &outcome.after {
            windows::After::Written(bytes, _) => {
                self.windows.insert(limit.key.clone(), bytes.clone());
            }
            windows::After::Removed => {
                self.windows.remove(&limit.key);
            }
            windows::After::Kept => {}
        }
        outcome
    }

    /// Other traffic on a window: a take of all or nothing.
    pub fn take(&mut self, limit: &Limit, now: i64) {
        let ask = ask(limit.amount, limit.keep, windows::Mode::Whole);
        self.window(limit, now, Call::Take(ask));
    }

    /// `RL.ALL … HOLD ttl id ELSE …`
    pub fn reserve(
        &mut self,
        now: i64,
        id: &str,
        ttl: i64,
        free: bool,
        limits: &[Limit],
    ) -> Outcome {
        let known = self.records.get(id).filter(|record| record.forget() > now);
        let before = match known.cloned() {
            Some(Record::Settled(_)) => return Outcome::Error("was settled"),
            Some(Record::Closed(_)) => return Outcome::Error("was cancelled"),
            Some(Record::Open {
                free: was_free,
                deadline,
                forget,
                held,
            }) => {
                let mut made: Vec<_> = held.iter().map(|h| (h.key.clone(), h.cost)).collect();
                let mut asked: Vec<_> = limits.iter().map(|l| (l.key.clone(), l.amount)).collect();
                made.sort();
                asked.sort();
                if made != asked || was_free != free {
                    return Outcome::Error("was made with other");
                }
                Some((deadline, forget, held))
            }
            None => None,
        };
        self.least = self.expires;
        self.walk(now, id, limits);

        let of = |key: &str| {
            let held = before.as_ref().map(|(_, _, held)| held);
            held.and_then(|held| held.iter().find(|h| h.key == key && !h.refunded))
        };
        let passes = |model: &Self, limit: &Limit| {
            let ask = ask(limit.amount, limit.keep, windows::Mode::Whole);
            let taken = model.clone().window(limit, now, Call::Take(ask)).reply[0];
            of(&limit.key).is_some() || taken > 0
        };
        if !limits.iter().all(|limit| passes(self, limit)) {
            let moved = limits.iter().map(|limit| match of(&limit.key) {
                Some(_) => 0,
                None => {
                    let ask = ask(limit.amount, limit.keep, windows::Mode::Whole);
                    let look = self.clone().window(limit, now, Call::Look(ask));
                    look.reply[0]
                }
            });
            return Outcome::Reply(0, moved.collect());
        }
        let (mut held, mut moved, mut until) = (Vec::new(), Vec::new(), now);
        for limit in limits {
            if let Some(h) = of(&limit.key) {
                held.push(h.clone());
                moved.push(0);
                continue;
            }
            let ask = ask(limit.amount, limit.keep, windows::Mode::Whole);
            let reply = self.window(limit, now, Call::Take(ask)).reply;
            until = until.max(now + reply[4]);
            moved.push(reply[0]);
            held.push(Held {
                key: limit.key.clone(),
                cost: limit.amount,
                at: now,
                refunded: false,
            });
        }
        let mut deadline = now + ttl;
        let mut forget = 0;
        if let Some((old, old_forget, old_held)) = &before {
            deadline = deadline.max(*old);
            if old_held.iter().any(|h| !h.refunded && h.cost > 0) {
                forget = *old_forget;
            }
        }
        forget = forget.max(deadline + ttl).max(deadline + MINUTE);
        if free {
            forget = forget.max(until);
        }
        self.write(
            now,
            id,
            Record::Open {
                free,
                deadline,
                forget,
                held,
            },
        );
        Outcome::Reply(1, moved)
    }

    /// `RL.SETTLE …`
    pub fn settle(&mut self, now: i64, id: &str, limits: &[Limit]) -> Outcome {
        self.least = self.expires;
        let none = vec![0; limits.len()];
        let known = self.records.get(id).filter(|record| record.forget() > now);
        match known.cloned() {
            None => {
                self.write(now, id, Record::Closed(now + MINUTE));
                Outcome::Reply(-1, none)
            }
            Some(Record::Closed(_)) => Outcome::Reply(-1, none),
            Some(Record::Settled(_)) => Outcome::Reply(0, none),
            Some(Record::Open { held, .. }) => {
                let mut moved = Vec::new();
                for limit in limits {
                    let Some(h) = held.iter().find(|h| h.key == limit.key) else {
                        return Outcome::Error("was made for other");
                    };
                    let holds = if h.refunded { 0 } else { h.cost };
                    let hold = Hold {
                        held: holds,
                        amount: limit.amount,
                        at: h.at,
                    };
                    moved.push(self.hold_instead(limit, now, hold));
                }
                self.write(now, id, Record::Settled(now + MINUTE));
                Outcome::Reply(1, moved)
            }
        }
    }

    fn write(&mut self, now: i64, id: &str, record: Record) {
        if self.records.is_empty() {
            (self.walked, self.due, self.open) = (now, i64::MAX, 0);
        }
        if self.records.get(id) == Some(&record) {
            return;
        }
        let was_open = self.records.get(id).is_some_and(Record::is_open);
        self.open = self.open - u64::from(was_open) + u64::from(record.is_open());
        self.due = self.due.min(record.due());
        let is_new = self.records.is_empty();
        let forget = record.forget();
        self.records.insert(id.to_owned(), record);
        self.expires = match is_new || self.open == 0 {
            true => forget,
            false => self.least.max(forget),
        };
        self.least = self.expires;
    }

    fn walk(&mut self, now: i64, own: &str, limits: &[Limit]) {
        let interval = (self.records.len() as i64).max(1000);
        let allowed = now < self.walked || now - self.walked >= interval;
        if self.records.is_empty() || now < self.due || !allowed {
            return;
        }
        self.walks += 1;
        let ids: Vec<_> = self
            .records
            .keys()
            .filter(|id| *id != own)
            .cloned()
            .collect();
        let mut overdue = Vec::new();
        for id in ids {
            match &self.records[&id] {
                record if record.forget() <= now => {
                    self.records.remove(&id);
                }
                Record::Open {
                    free: true,
                    deadline,
                    ..
                } if *deadline <= now => overdue.push((*deadline, id)),
                _ => {}
            }
        }
        overdue.sort();
        for (_, id) in overdue {
            let Some(Record::Open { mut held, .. }) = self.records.get(&id).cloned() else {
                continue;
            };
            let mut any = false;
            for h in &mut held {
                let limit = limits.iter().find(|limit| limit.key == h.key);
                if let Some(limit) = limit.filter(|_| !h.refunded) {
                    self.hold_instead(limit, now, Hold::free(h.cost, h.at));
                    (h.refunded, any) = (true, true);
                }
            }
            if let (
                true,
                Some(Record::Open {
                    held: stored,
                    forget,
                    ..
                }),
            ) = (any, self.records.get_mut(&id))
            {
                if held.iter().all(|h| h.refunded) {
                    *forget = (*forget).min(now + 60 * MINUTE);
                }
                *stored = held;
            }
        }
        let known = self.records.values().map(Record::forget);
        let last = known.filter(|&at| at > now).max();
        self.expires = last.unwrap_or(self.expires);
        self.least = last.unwrap_or(i64::MIN);
        self.walked = now;
        self.due = self
            .records
            .values()
            .map(Record::due)
            .min()
            .unwrap_or(i64::MAX);
        self.open = self
            .records
            .values()
            .filter(|record| record.is_open())
            .count() as u64;
    }
}

/// Whether anything counts of a stored window.
pub fn counts(bytes: &[u8], now: i64) -> bool {
    match Stored::read(bytes).expect("a window") {
        Stored::Fixed { end, .. } => end > now,
        Stored::Sliding {
            length,
            newest,
            taken,
        } => {
            let latest = (i128::from(now) * 16 / i128::from(length)).max(i128::from(newest));
            taken.iter().any(|(&n, &used)| used > 0 && n > latest - 17)
        }
    }
}

fn ask(cost: u64, keep: u64, mode: windows::Mode) -> windows::Ask {
    windows::Ask { cost, keep, mode }
}
