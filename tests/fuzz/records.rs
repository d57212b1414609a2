//! The records of a holds key, as the contract lays them out, and a walk over them.

use std::collections::BTreeMap;

pub const MINUTE: i64 = 60_000;
const MARKER: &[u8] = b"rl:holds";
const MOST_LIMITS: usize = 16;
const MOST_NAMES: usize = 1024;
const MOST_TOKENS: u64 = 100_000_000_000;
const MOST_WALKED: usize = 1_000;

/// The fields of a hash.
pub type Fields = BTreeMap<Vec<u8>, Vec<u8>>;

/// A bucket or a window, by name.
pub type Name = (bool, Vec<u8>);

#[derive(Clone, Debug, PartialEq)]
pub struct Charge {
    pub is_window: bool,
    pub name: Vec<u8>,
    pub cost: u64,
    pub at: i64,
    pub refunded: bool,
}

impl Charge {
    pub fn held(&self) -> u64 {
        if self.refunded {
            0
        } else {
            self.cost
        }
    }

    pub fn is_of(&self, (is_window, name): &Name) -> bool {
        self.is_window == *is_window && self.name == *name
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Open {
    pub free: bool,
    pub deadline: i64,
    pub forget: i64,
    pub charges: Vec<Charge>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    Open(Open),
    Settled(i64),
    Closed(i64),
}

fn word(bytes: &[u8], at: usize) -> Option<i64> {
    let word = bytes.get(at..at + 8)?;
    Some(i64::from_le_bytes(word.try_into().ok()?))
}

impl Record {
    pub fn read(bytes: &[u8]) -> Option<Self> {
        match (bytes.first()?, bytes.len()) {
            (2, 9) => Some(Self::Settled(word(bytes, 1)?)),
            (3, 9) => Some(Self::Closed(word(bytes, 1)?)),
            (1, 19..) => {
                let (flags, count) = (bytes[1], usize::from(bytes[2]));
                let mut charges = Vec::new();
                let mut at = 19;
                for _ in 0..count {
                    let kind = *bytes.get(at)?;
                    let length = bytes.get(at + 17..at + 19)?;
                    let length = usize::from(length[0]) + 256 * usize::from(length[1]);
                    charges.push(Charge {
                        is_window: kind % 128 == 1,
                        name: bytes.get(at + 19..at + 19 + length)?.to_vec(),
                        cost: word(bytes, at + 1)? as u64,
                        at: word(bytes, at + 9)?,
                        refunded: kind >= 128,
                    });
                    if kind % 128 > 1 {
                        return None;
                    }
                    at += 19 + length;
                }
                let names: usize = charges.iter().map(|charge| charge.name.len()).sum();
                let is_valid = flags <= 1
                    && (1..=MOST_LIMITS).contains(&count)
                    && names <= MOST_NAMES
                    && charges.iter().all(|charge| charge.cost <= MOST_TOKENS)
                    && at == bytes.len();
                is_valid.then_some(Self::Open(Open {
                    free: flags == 1,
                    deadline: word(bytes, 3)?,
                    forget: word(bytes, 11)?,
                    charges,
                }))
            }
            _ => None,
        }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let open = match self {
            Self::Settled(at) => return [&[2][..], &at.to_le_bytes()].concat(),
            Self::Closed(at) => return [&[3][..], &at.to_le_bytes()].concat(),
            Self::Open(open) => open,
        };
        let mut bytes = vec![1, u8::from(open.free), open.charges.len() as u8];
        bytes.extend(open.deadline.to_le_bytes());
        bytes.extend(open.forget.to_le_bytes());
        for charge in &open.charges {
            bytes.push(u8::from(charge.is_window) + if charge.refunded { 128 } else { 0 });
            bytes.extend(charge.cost.to_le_bytes());
            bytes.extend(charge.at.to_le_bytes());
            bytes.extend((charge.name.len() as u16).to_le_bytes());
            bytes.extend(&charge.name);
        }
        bytes
    }

    pub fn forget(&self) -> i64 {
        match self {
            Self::Open(open) => open.forget,
            Self::Settled(at) | Self::Closed(at) => *at,
        }
    }

    /// The time from which a walk may have something to do for it.
    fn due(&self) -> i64 {
        match self {
            Self::Open(open) if open.free && open.charges.iter().any(|c| c.held() > 0) => {
                open.deadline.min(open.forget)
            }
            other => other.forget(),
        }
    }

    fn is_open(&self) -> bool {
        matches!(self, Self::Open(_))
    }
}

/// A holds key.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    pub walked: i64,
    pub due: i64,
    pub open: u64,
    /// Whether the key exists, although it may have no records.
    exists: bool,
    /// Every other field.
    pub records: Fields,
    /// The expiry of the key, `None` without one.
    pub expires: Option<i64>,
    /// The greatest time at which a record is forgotten, if a walk has found it out.
    last: Option<i64>,
}

impl Table {
    /// Reads a hash; `None` if it has not the marker.
    pub fn read(fields: &Fields, expires: Option<i64>) -> Option<Self> {
        let marker = fields.get(MARKER).filter(|marker| marker.len() == 25)?;
        let mut records = fields.clone();
        records.remove(MARKER);
        (marker[0] == 0xF4).then_some(Self {
            walked: word(marker, 1)?,
            due: word(marker, 9)?,
            open: word(marker, 17)? as u64,
            exists: true,
            records,
            expires,
            last: None,
        })
    }

    pub fn fields(&self) -> Fields {
        let mut fields = self.records.clone();
        if self.exists {
            let words = [self.walked, self.due, self.open as i64];
            let words = words.iter().flat_map(|word| word.to_le_bytes());
            let marker = std::iter::once(0xF4).chain(words).collect();
            fields.insert(MARKER.to_vec(), marker);
        }
        fields
    }

    /// Returns the record of an id that is not forgotten; an error if it does not parse.
    pub fn record(&self, id: &[u8], now: i64) -> Result<Option<Record>, &'static str> {
        let Some(bytes) = self.records.get(id) else {
            return Ok(None);
        };
        let record = Record::read(bytes).ok_or("cannot be read")?;
        Ok(Some(record).filter(|record| record.forget() > now))
    }

    /// Walks the records if a walk is due. Returns what comes back to each limit of the call,
    /// oldest deadline first, and whether it walked.
    pub fn walk(&mut self, now: i64, own: &[u8], limits: &[Name]) -> (Vec<(u64, i64, Name)>, bool) {
        let interval = i128::from((self.records.len() as i64).max(1_000));
        let since = i128::from(now) - i128::from(self.walked);
        let is_allowed = since < 0 || since >= interval;
        if !self.exists || now < self.due || !is_allowed {
            return (Vec::new(), false);
        }
        let mut overdue = Vec::new();
        for (id, bytes) in self.records.clone() {
            let Some(record) = Record::read(&bytes).filter(|_| id != own) else {
                continue;
            };
            if record.forget() <= now {
                self.records.remove(&id);
            } else if let Record::Open(open) = record {
                let holds = |charge: &Charge| {
                    charge.held() > 0 && limits.iter().any(|limit| charge.is_of(limit))
                };
                if open.free && open.deadline <= now && open.charges.iter().any(holds) {
                    overdue.push((open.deadline, id, open));
                }
            }
        }
        overdue.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
        assert!(
            overdue.len() <= MOST_WALKED,
            "a walk of more than is tested"
        );
        let mut refunds = Vec::new();
        for (_, id, mut open) in overdue {
            for charge in &mut open.charges {
                if let Some(limit) = limits.iter().find(|limit| charge.is_of(limit)) {
                    refunds.push((charge.held(), charge.at, limit.clone()));
                    charge.refunded = true;
                }
            }
            if open.charges.iter().all(|charge| charge.held() == 0) {
                open.forget = open.forget.min(now + 60 * MINUTE);
            }
            self.records.insert(id, Record::Open(open).bytes());
        }
        self.exists = !self.records.is_empty();
        let parsed = self
            .records
            .iter()
            .map(|(id, bytes)| (id, Record::read(bytes)));
        let known: Vec<_> = parsed.collect();
        let of = |time: fn(&Record) -> i64| {
            let records = known.iter().filter_map(|(_, record)| record.as_ref());
            records.map(time).collect::<Vec<_>>()
        };
        self.walked = now;
        self.due = of(Record::due).into_iter().min().unwrap_or(i64::MAX);
        self.open = known
            .iter()
            .filter(|(_, record)| record.as_ref().is_none_or(Record::is_open))
            .count() as u64;
        let last = of(Record::forget).into_iter().max().unwrap_or(i64::MIN);
        self.last = Some(last);
        if last > now {
            self.expires = Some(last);
        }
        (refunds, true)
    }

    /// Stores the record of an id.
    pub fn write(&mut self, now: i64, id: &[u8], record: &Record) {
        let bytes = record.bytes();
        if self.records.get(id) == Some(&bytes) {
            return;
        }
        let is_new = !std::mem::replace(&mut self.exists, true);
        if is_new && self.last.is_none() {
            (self.walked, self.due, self.open) = (now, i64::MAX, 0);
        }
        let old = self.records.insert(id.to_vec(), bytes);
        let was_open = old
            .and_then(|bytes| Record::read(&bytes))
            .is_some_and(|record| record.is_open());
        self.open = self.open.saturating_sub(u64::from(was_open)) + u64::from(record.is_open());
        self.due = self.due.min(record.due());
        let forget = record.forget();
        self.expires = match (self.last, self.expires) {
            _ if is_new || self.open == 0 => Some(forget),
            (Some(last), _) => Some(last.max(forget)),
            (None, Some(at)) => Some(at.max(forget)),
            (None, None) => None,
        };
    }
}
