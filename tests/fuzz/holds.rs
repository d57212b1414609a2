//! Calls with a HOLD, their settlements, and RL.HOLDS: what each may come to.
//!
//! Every millisecond of the call is tried. At one of them each limit moves as the records and the
//! call say, and the hash holds exactly the records that follow.

use redis::Value;

use crate::check::{may_have_expired, Check, Moment};
use crate::mixed::{Lease, MixedCall, Part, Spec, Way};
use crate::oracle::{Limit, State, MILLI};
use crate::records::{Charge, Fields, Name, Open, Record, Table, MINUTE};
use crate::syntax::{Ask, Verb};
use crate::window::{Asked, WindowCall};
use crate::windows::{Hold, Stored};
use crate::wire::{Content, Found};

const PLACES: i64 = 10_000;

/// `HOLD ttl id [ELSE …]`, or `HOLD id` of a settlement.
#[derive(Debug)]
pub struct HoldSpec {
    pub ttl: i64,
    pub id: Vec<u8>,
    pub free: bool,
}

/// A call as it arrived, and what was found before and after it.
pub struct Seen<'a> {
    pub call: &'a MixedCall,
    pub parts: &'a [Part],
    pub moment: &'a Moment,
}

/// The five integers of every key.
type Replies<'a> = &'a [[i64; 5]];

impl Seen<'_> {
    fn hold(&self) -> (&HoldSpec, &[u8]) {
        let mut holds = self.parts.iter().filter_map(|part| match &part.spec {
            Spec::Hold(hold) => Some((hold, part.key.as_slice())),
            _ => None,
        });
        holds.next().expect("a call with a HOLD")
    }

    /// Returns the name and the COST or USED of each bucket and window.
    fn limits(&self) -> Vec<(Name, u64)> {
        let limits = self.parts.iter().filter_map(|part| match &part.spec {
            Spec::Bucket(_, ask) => Some(((false, part.key.clone()), ask.cost)),
            Spec::Window(_, _, ask) => Some(((true, part.key.clone()), ask.cost)),
            _ => None,
        });
        limits.collect()
    }

    /// Returns whether the error is one that the record of the id demands.
    pub fn refuses<'a>(
        &self,
        text: &str,
        found: impl Fn(&[u8]) -> &'a Found,
    ) -> Option<&'static str> {
        let (hold, key) = self.hold();
        let before = found(key);
        let expected = match &before.content {
            Content::Holds(_) => {
                let table = table(before)?;
                let times = [self.moment.from, self.moment.to].map(|at| (at / MILLI) as i64);
                let faults = times.map(|now| self.fault(hold, &table, now));
                let id = hold.id.escape_ascii().to_string();
                let shown = text.strip_prefix("ERR hold '")?;
                let is_named = shown.starts_with(&id[..id.len().min(32)]);
                let mut faults = faults.into_iter().flatten();
                let told = is_named && faults.any(|fault| text.ends_with(fault));
                return told.then_some("hold refused");
            }
            Content::Nothing => return None,
            Content::Other(_) => "holds a hash that was not created by RL.ALL",
            _ => "WRONGTYPE ",
        };
        let told = text.contains(expected) || text.starts_with("WRONGTYPE ");
        told.then_some("another kind")
    }

    /// Returns the end of the error that the record of the id demands.
    fn fault(&self, hold: &HoldSpec, table: &Table, now: i64) -> Option<&'static str> {
        let record = match table.record(&hold.id, now) {
            Err(_) => return Some("cannot be read: its record was changed by hand"),
            Ok(record) => record?,
        };
        let mut asked = self.limits();
        asked.sort();
        let made = |open: &Open| {
            let limits = open.charges.iter();
            let mut made: Vec<_> = limits
                .map(|c| ((c.is_window, c.name.clone()), c.cost))
                .collect();
            made.sort();
            made
        };
        let names = |limits: &[(Name, u64)]| -> Vec<Name> {
            limits.iter().map(|(name, _)| name.clone()).collect()
        };
        match (record, self.call.settles) {
            (Record::Settled(_), false) => Some("was settled"),
            (Record::Closed(_), false) => Some("was cancelled before it was made"),
            (Record::Open(open), false) => (made(&open) != asked || open.free != hold.free)
                .then_some("was made with other keys, costs or ELSE"),
            (Record::Open(open), true) => (names(&made(&open)) != names(&asked))
                .then_some("was made for other buckets or windows"),
            _ => None,
        }
    }

    /// Returns the kind of the reply, or why it is wrong.
    pub fn held<'a>(
        &self,
        (status, wait, replies): (i64, i64, Replies),
        found: impl Fn(&[u8]) -> (&'a Found, &'a Found),
    ) -> Result<&'static str, String> {
        let mut told = Err("must fail: not a holds key".to_owned());
        for ms in self.moment.from / MILLI..=self.moment.to / MILLI {
            let moment = Moment {
                from: self.moment.from.max(ms * MILLI),
                to: self.moment.to.min(ms * MILLI + MILLI - 1),
            };
            let (before, _) = found(self.hold().1);
            let gone = may_have_expired(before, &moment);
            for table in table(before).into_iter().chain(gone.then(Table::default)) {
                if let Err(why) = told {
                    let tried = self.at(ms as i64, &moment, table, (status, wait, replies), &found);
                    told = tried.map_err(|next| format!("{why}\nat {ms}: {next}"));
                }
            }
        }
        told
    }

    /// Checks the call at one millisecond.
    fn at<'a>(
        &self,
        now: i64,
        moment: &Moment,
        mut table: Table,
        (status, wait, replies): (i64, i64, Replies),
        found: &impl Fn(&[u8]) -> (&'a Found, &'a Found),
    ) -> Result<&'static str, String> {
        let (hold, key) = self.hold();
        if let Some(fault) = self.fault(hold, &table, now) {
            return Err(format!("must fail: {fault}"));
        }
        let limits = self.limits();
        let names: Vec<_> = limits.iter().map(|(name, _)| name.clone()).collect();
        let record = table.record(&hold.id, now)?;
        let open = match &record {
            Some(Record::Open(open)) => Some(open.clone()),
            _ => None,
        };
        let (refunds, walked) = match self.call.settles {
            true => (Vec::new(), false),
            false => table.walk(now, &hold.id, &names),
        };
        let way = match (self.call.settles, status) {
            (false, 0) => Way::Denied,
            _ => Way::Taken,
        };
        let mut charges = Vec::new();
        let mut until = now;
        let mut passes = true;
        for (part, reply) in self.parts.iter().zip(replies) {
            let (before, after) = found(&part.key);
            let name = match &part.spec {
                Spec::Bucket(..) => Some((false, part.key.clone())),
                Spec::Window(..) => Some((true, part.key.clone())),
                _ => None,
            };
            let charge = name.as_ref().and_then(|name| {
                let open = open.as_ref()?;
                open.charges.iter().find(|charge| charge.is_of(name))
            });
            let wish = self.wish(part, charge);
            let back = refunds
                .iter()
                .filter(|(.., limit)| Some(limit) == name.as_ref());
            let back: Vec<_> = back.map(|&(held, at, _)| (held, at)).collect();
            let moves = Moves {
                wish,
                refunds: back,
            };
            let held = |moment: &Moment| moves.held(part, reply, (before, after), moment, way);
            let told = held(moment);
            match after.content {
                // It may have expired before it was read.
                Content::Nothing if told.is_err() => {
                    let to = self.moment.to;
                    held(&Moment { to, ..*moment })?;
                }
                _ => told?,
            }
            if wish.is_none() {
                passes &= match part.cost() {
                    Some(0) => (reply[0], reply[3]) == (0, 0),
                    _ => reply[0] > 0 || matches!(part.spec, Spec::Hold(_) | Spec::Release(_)),
                };
            }
            match (name, charge, wish) {
                (Some((is_window, name)), _, None) => {
                    until = until.max(now + reply[4]);
                    charges.push(Charge {
                        is_window,
                        name,
                        cost: part.cost().unwrap_or(0),
                        at: 0,
                        refunded: false,
                    });
                }
                (Some(_), Some(charge), _) => charges.push(charge.clone()),
                _ => {}
            }
        }
        let longest = match replies.iter().any(|reply| reply[3] == -1) {
            true => -1,
            false => replies.iter().map(|reply| reply[3]).max().unwrap_or(0),
        };
        if wait != longest {
            return Err(format!("the longest wait is {longest}"));
        }
        let (expected, deadline) = match (self.call.settles, &record) {
            (false, _) => {
                let old = open.as_ref().map(|open| open.deadline);
                let deadline = match passes {
                    true => Some((now + hold.ttl).max(old.unwrap_or(i64::MIN))),
                    false => old,
                };
                (i64::from(passes), deadline)
            }
            (true, Some(Record::Open(_))) => (1, None),
            (true, Some(Record::Settled(_))) => (0, None),
            (true, _) => (-1, None),
        };
        if status != expected {
            return Err(format!("the first number is {expected}"));
        }
        let after = &found(key).1;
        if passes && !self.call.settles {
            let deadline = deadline.unwrap_or(0);
            let mut forget = deadline + hold.ttl.max(MINUTE);
            if hold.free {
                forget = forget.max(until);
            }
            if let Some(open) = open.as_ref() {
                if open.charges.iter().any(|charge| charge.held() > 0) {
                    forget = forget.max(open.forget);
                }
            }
            self.learn_times(&mut charges, after, moment, found)?;
            let record = Record::Open(Open {
                free: hold.free,
                deadline,
                forget,
                charges,
            });
            table.write(now, &hold.id, &record);
        } else if self.call.settles {
            match record {
                Some(Record::Open(_)) => {
                    table.write(now, &hold.id, &Record::Settled(now + MINUTE));
                }
                None => table.write(now, &hold.id, &Record::Closed(now + MINUTE)),
                _ => {}
            }
        }
        let places = PLACES - table.records.len() as i64;
        let left = deadline.map_or(0, |at| (at - now).max(0));
        let element = [i64::from(deadline.is_some()), PLACES, places, 0, left];
        let own = self.parts.iter().zip(replies);
        let mut own = own.filter(|(part, _)| matches!(part.spec, Spec::Hold(_)));
        if own.any(|(_, reply)| *reply != element) {
            return Err(format!("the HOLD has {element:?}"));
        }
        self.fits(&table, after)?;
        Ok(match (self.call.settles, status, open.is_some()) {
            (true, 1, _) => "hold settled",
            (true, 0, _) => "hold settled before",
            (true, ..) => "hold unknown",
            _ if !refunds.is_empty() => "hold returned",
            _ if walked => "holds walked",
            (false, 0, false) => "hold denied",
            (false, 0, true) => "hold repeat denied",
            (false, _, false) => "hold made",
            (false, _, true) => "hold repeated",
        })
    }

    /// Returns what a limit holds, if the call does not take from it.
    fn wish(&self, part: &Part, charge: Option<&Charge>) -> Option<Hold> {
        let nothing = Hold::free(0, 0);
        match (&part.spec, charge) {
            (Spec::Bucket(..) | Spec::Window(..), None) => self.call.settles.then_some(nothing),
            (_, None) => None,
            (_, Some(charge)) if self.call.settles => Some(Hold {
                held: charge.held(),
                amount: part.cost().unwrap_or(0),
                at: charge.at,
            }),
            (_, Some(charge)) => (!charge.refunded).then_some(nothing),
        }
    }

    /// Sets the times of new charges. That of a window follows from the window; that of a bucket
    /// that was not written lies between two.
    fn learn_times<'a>(
        &self,
        charges: &mut [Charge],
        after: &Found,
        moment: &Moment,
        found: &impl Fn(&[u8]) -> (&'a Found, &'a Found),
    ) -> Result<(), String> {
        let (hold, _) = self.hold();
        let stored = match &after.content {
            Content::Holds(fields) => fields.get(&hold.id),
            // It has expired since.
            _ => return Ok(()),
        };
        let Some(Record::Open(stored)) = stored.and_then(|bytes| Record::read(bytes)) else {
            return Err("no open record was stored".to_owned());
        };
        for charge in charges.iter_mut().filter(|charge| charge.at == 0) {
            let name = (charge.is_window, charge.name.clone());
            let told = stored.charges.iter().find(|told| told.is_of(&name));
            let told = told.ok_or("a charge is missing")?.at;
            let (before, after) = found(&charge.name);
            let now = (moment.from / MILLI) as i64;
            let fits = match (&after.content, self.limit(&charge.name)) {
                (Content::Text(bytes), Some(limit)) => {
                    is_full_at(told, limit, bytes, charge.cost, moment)
                }
                // A cost of 0 may leave a window of another time.
                (Content::Text(bytes), None) => {
                    told == window_time(bytes, now) || charge.cost == 0 && told == now
                }
                // The key has expired since, or nothing was stored.
                (_, Some(_)) => told >= moment.from as i64,
                (_, None) => told >= now || before.content != Content::Nothing,
            };
            if !fits {
                return Err(format!("{charge:?} is stored with the time {told}"));
            }
            charge.at = told;
        }
        Ok(())
    }

    fn limit(&self, key: &[u8]) -> Option<&Limit> {
        self.parts.iter().find_map(|part| match &part.spec {
            Spec::Bucket(limit, _) if part.key == key => Some(limit),
            _ => None,
        })
    }

    /// Checks that the hash holds these records.
    fn fits(&self, table: &Table, after: &Found) -> Result<(), String> {
        let fields: Fields = table.fields();
        let last = (self.moment.to / MILLI) as i64;
        let has_expired = table.expires.is_some_and(|at| at <= last + 1);
        let fits = match &after.content {
            Content::Holds(found) => *found == fields && after.expires == table.expires,
            Content::Nothing => fields.is_empty() || has_expired,
            _ => false,
        };
        match fits {
            true => Ok(()),
            false => Err(format!("the hash must be {table:?}")),
        }
    }
}

/// Returns whether a bucket may be full at that nanosecond after a charge.
fn is_full_at(told: i64, limit: &Limit, stored: &[u8], cost: u64, moment: &Moment) -> bool {
    let Some(state) = State::read(stored) else {
        return false;
    };
    if cost > 0 {
        return told == limit.full_after(Some(state), state.updated_at, 0);
    }
    // The level is rounded down to a unit.
    let unit = i64::try_from(limit.nanos_for(&1.into())).unwrap_or(i64::MAX);
    let ends = [moment.from, moment.to].map(|now| limit.full_after(Some(state), now, 0));
    let (low, high) = (ends[0].min(ends[1]), ends[0].max(ends[1]));
    (low.saturating_sub(unit)..=high.saturating_add(unit)).contains(&told)
}

/// Returns the time of a charge that was made at `now` to the stored window.
fn window_time(stored: &[u8], now: i64) -> i64 {
    match Stored::read(stored) {
        Some(Stored::Fixed { start, .. }) => now.max(start),
        Some(Stored::Sliding { length, newest, .. }) => {
            let begins = (i128::from(newest) * i128::from(length) + 15) / 16;
            now.max(begins as i64)
        }
        None => now,
    }
}

fn table(found: &Found) -> Option<Table> {
    match &found.content {
        Content::Nothing => Some(Table::default()),
        Content::Holds(fields) => Table::read(fields, found.expires),
        _ => None,
    }
}

/// The moves of one limit in a call.
struct Moves {
    /// `None`: takes.
    wish: Option<Hold>,
    /// Overdue holds: amounts, each with its time.
    refunds: Vec<(u64, i64)>,
}

impl Moves {
    fn held(
        &self,
        part: &Part,
        reply: &[i64; 5],
        (before, after): (&Found, &Found),
        moment: &Moment,
        way: Way,
    ) -> Result<(), String> {
        match &part.spec {
            Spec::Bucket(limit, ask) => {
                let ask = Ask { ..*ask };
                let verb = match (self.wish, way) {
                    (Some(hold), _) => Verb::Hold(hold),
                    (None, Way::Denied) => Verb::Each(ask),
                    _ => Verb::Take(ask),
                };
                let check = Check {
                    verb,
                    limit,
                    reply,
                    moment,
                    expires: before.expires,
                    refunds: &self.refunds,
                };
                check.any_of(before, after)
            }
            Spec::Window(limit, named, ask) => {
                let asked = match (self.wish, way) {
                    (Some(hold), _) => Asked::Hold(hold),
                    (None, Way::Denied) => Asked::Each(*ask),
                    _ => Asked::Alone(crate::windows::Call::Take(*ask)),
                };
                let mut call = WindowCall::among(&part.key, *limit, *named, asked);
                call.refunds.clone_from(&self.refunds);
                call.replies(*reply, before, after, moment).map(drop)
            }
            Spec::Lease(lease) => lease.held(reply, before, after, moment, way),
            Spec::Release(token) => Lease::released(token, reply, before, after, moment),
            Spec::Hold(_) => Ok(()),
        }
    }
}

/// RL.HOLDS, by its words.
pub struct Listing {
    pub key: Vec<u8>,
    /// `None` if a word is wrong.
    most: Option<u64>,
}

/// `None`: another command.
pub fn parse(words: &[Vec<u8>]) -> Option<Listing> {
    let (name, arguments) = words.split_first()?;
    if !name.eq_ignore_ascii_case(b"RL.HOLDS") {
        return None;
    }
    let most = match arguments {
        [_] => Some(100),
        [_, option, n] if option.eq_ignore_ascii_case(b"COUNT") => {
            crate::syntax::integer(n, 1, 100_000)
        }
        _ => None,
    };
    let key = arguments.first().cloned().unwrap_or_default();
    Some(Listing { key, most })
}

impl Listing {
    /// Returns the kind of the reply, or why it is wrong.
    pub fn held(
        &self,
        reply: &Value,
        before: &Found,
        after: &Found,
        moment: &Moment,
    ) -> Result<&'static str, String> {
        crate::mixed::untouched(before, after, moment)?;
        let gone = may_have_expired(before, moment);
        let table = table(before);
        if let Value::ServerError(error) = reply {
            let text = format!("{} {}", error.code(), error.details().unwrap_or_default());
            let is_other = text.starts_with("WRONGTYPE ") || text.contains("not created by RL.ALL");
            return match (self.most, table) {
                (None, _) if text.starts_with("ERR ") && !is_other => Ok("wrong call"),
                (Some(_), None) if is_other => Ok("another kind"),
                _ => Err("must not fail so".to_owned()),
            };
        }
        let most = self.most.ok_or("must fail")? as usize;
        let times = moment.from / MILLI..=moment.to / MILLI;
        let fits = times.into_iter().any(|now| {
            let table = table.clone();
            let tables = table.into_iter().chain(gone.then(Table::default));
            tables
                .into_iter()
                .any(|table| list(&table, now as i64, most) == shown(reply))
        });
        fits.then_some("holds listed").ok_or_else(|| {
            let expected = table.map(|table| list(&table, (moment.from / MILLI) as i64, most));
            format!("expected {expected:?}")
        })
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("{:?}", items.iter().map(shown).collect::<Vec<_>>()),
        Value::BulkString(text) => text.escape_ascii().to_string(),
        Value::Int(n) => n.to_string(),
        other => format!("{other:?}"),
    }
}

/// Returns the counts of open, overdue and remembered records, and the deadline of the first.
pub fn counts(fields: &Fields, now: i64) -> Option<[i64; 4]> {
    let table = Table::read(fields, None)?;
    let live = known(&table, now);
    let deadlines = live.iter().filter_map(|(_, record)| match record {
        Record::Open(open) => Some(open.deadline),
        _ => None,
    });
    let deadlines: Vec<_> = deadlines.collect();
    let overdue = deadlines.iter().filter(|&&at| at <= now).count();
    let remembered = live.len() - deadlines.len();
    let first = deadlines.iter().min().copied().unwrap_or(0);
    Some([
        deadlines.len() as i64,
        overdue as i64,
        remembered as i64,
        first,
    ])
}

fn known(table: &Table, now: i64) -> Vec<(&Vec<u8>, Record)> {
    let known = table.records.iter();
    let known = known.filter_map(|(id, bytes)| Some((id, Record::read(bytes)?)));
    known.filter(|(_, record)| record.forget() > now).collect()
}

fn list(table: &Table, now: i64, most: usize) -> String {
    let [open, overdue, remembered, _] = counts(&table.fields(), now).unwrap_or_default();
    let mut listed: Vec<_> = known(table, now)
        .into_iter()
        .filter_map(|(id, record)| match record {
            Record::Open(open) => Some((open.deadline, id, open)),
            _ => None,
        })
        .collect();
    listed.sort_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)));
    let text = |bytes: &[u8]| Value::BulkString(bytes.to_vec());
    let listed = listed.into_iter().take(most).map(|(deadline, id, open)| {
        let charges = open.charges.iter();
        let charges =
            charges.map(|c| Value::Array(vec![text(&c.name), Value::Int(c.held() as i64)]));
        Value::Array(vec![
            text(id),
            Value::Int(deadline - now),
            text(if open.free { b"FREE" } else { b"CHARGE" }),
            Value::Array(charges.collect()),
        ])
    });
    let numbers = [open, PLACES, overdue, remembered].map(Value::Int);
    let all = numbers.into_iter().chain([Value::Array(listed.collect())]);
    shown(&Value::Array(all.collect()))
}
