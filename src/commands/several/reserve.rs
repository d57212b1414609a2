//! RL.ALL with a HOLD: charges every limit or none, and records what each holds under the id.

use crate::commands::error::Error;
use crate::commands::hold_error::Fault;
use redis_rl_limits::bounds::{MAX_HELD_LIMITS, MAX_HELD_NAMES};
use redis_rl_limits::kinds::hold::{self, Charge, Limited, Open, Record, Terms};

use super::hold_part::HoldPart;
use super::holds_key::HoldsKey;
use super::limit_spec::{HoldSpec, Spec};
use super::part::Mixed;
use super::reply::Replies;
use super::small_vec::Few;
use super::string_part::Wish;
use super::take_all::take_all_or_none;
use crate::server::{Argument, Call, KeyName};
use crate::stats::HOLDS;

/// Charges and records, or repeats a call that did.
///
/// # Errors
/// Anything that is wrong with the call, the id or a key; all of it is found before anything is
/// refunded or written.
pub fn reserve<'a>(
    call: &mut Call<'a>,
    keys: &'a [Argument<'a>],
    specs: &Few<Spec<'a>>,
) -> Result<Replies, Error<'a>> {
    let asked = Asked::of(keys, specs)?;
    let mut key = HoldsKey::read(call, asked.name, asked.hold.id)?;
    let id = asked.hold.id.bytes();
    let before = match key.record()? {
        None => None,
        Some(Record::Settled(_)) => return Err(Fault::Settled(id).into()),
        Some(Record::Closed(_)) => return Err(Fault::Cancelled(id).into()),
        Some(Record::Open(open)) => Some(Before::of(&open, &asked).ok_or(Fault::Differs(id))?),
    };
    let mut parts = read_parts(call, keys, specs, before.as_ref());
    parts.iter().try_for_each(Mixed::check)?;

    if let Some(mut walk) = key.walk(call, before.is_none(), &asked.limits)? {
        let refunds = walk.refunds();
        refund(call, keys, specs, &mut parts, &refunds)?;
        key.apply(call, walk, refunds)?;
    }
    decide_hold(&mut parts, &key, &asked.hold, before.as_ref());
    let mut replies = take_all_or_none(call, &parts, 1)?;
    if replies.taken == 0 {
        if before.is_none() && !key.has_place() {
            replies.least_wait = key.wait_for_walk();
        }
        return Ok(replies);
    }
    let record = record(&key, &asked, before.as_ref(), &parts, &replies);
    key.write(call, &record)?;
    match before {
        None => HOLDS.made.add(1),
        Some(_) => HOLDS.repeated.add(1),
    }
    call.notify(c"rl.hold", key.name.argument);
    Ok(replies)
}

/// The request of a call.
struct Asked<'a> {
    name: KeyName<'a>,
    hold: HoldSpec<'a>,
    /// The buckets and windows, in the order of the call.
    limits: Vec<Limited<'a>>,
    /// The amount that each limit must hold.
    costs: Vec<u64>,
}

impl<'a> Asked<'a> {
    fn of(keys: &'a [Argument<'a>], specs: &Few<Spec<'a>>) -> Result<Self, Error<'a>> {
        let mut found = None;
        let (mut limits, mut costs) = (Vec::new(), Vec::new());
        for (key, spec) in keys.iter().zip(specs.iter()) {
            match spec {
                Spec::String(limit, ask) => {
                    limits.push(limit.at(key.bytes()));
                    costs.push(ask.cost);
                }
                Spec::Lease(lease) if lease.once => return Err(Fault::Once.into()),
                Spec::Lease(_) => {}
                Spec::Hold(_) if found.is_some() => return Err(Fault::Repeated.into()),
                Spec::Hold(hold) => found = Some((KeyName::of(key), *hold)),
            }
        }
        check_limits(&limits)?;
        let (name, hold) = found.ok_or(Fault::Missing)?;
        Ok(Self {
            name,
            hold,
            limits,
            costs,
        })
    }
}

/// Checks that a hold can be made for these limits.
///
/// # Errors
/// There are none or too many, or their names are too long together.
pub fn check_limits<'a>(limits: &[Limited<'_>]) -> Result<(), Error<'a>> {
    if !(1..=MAX_HELD_LIMITS).contains(&limits.len()) {
        return Err(Fault::Limits.into());
    }
    let names = limits.iter().fold(0, |bytes: usize, limit| {
        bytes.saturating_add(limit.name.len())
    });
    match names <= MAX_HELD_NAMES {
        true => Ok(()),
        false => Err(Fault::Names.into()),
    }
}

/// The open hold that a call repeats.
struct Before<'a> {
    deadline: i64,
    forget_at: i64,
    /// The charges, in the order of the call.
    charges: Vec<Charge<'a>>,
}

impl<'a> Before<'a> {
    /// Compares the hold with the call; `None` if it was made with other keys, costs or ELSE.
    fn of(open: &Open<'_>, asked: &Asked<'a>) -> Option<Self> {
        let charges = asked
            .limits
            .iter()
            .zip(&asked.costs)
            .map(|(&limit, &cost)| {
                let charge = open.charge_to(limit)?;
                (charge.cost == cost).then_some(Charge { limit, ..charge })
            });
        let is_same =
            open.is_for(asked.limits.iter().copied()) && open.else_free == asked.hold.else_free;
        Some(Self {
            deadline: open.deadline,
            forget_at: open.forget_at,
            charges: charges.collect::<Option<_>>().filter(|_| is_same)?,
        })
    }

    /// Returns the request to the `nth` limit: nothing if the amount is still held.
    fn wish(&self, nth: usize) -> Option<Wish> {
        let charge = self.charges.get(nth)?;
        (!charge.refunded).then_some(Wish::NOTHING)
    }
}

fn read_parts<'a>(
    call: &mut Call<'a>,
    keys: &'a [Argument<'a>],
    specs: &Few<Spec<'a>>,
    before: Option<&Before<'a>>,
) -> Few<Mixed<'a>> {
    let mut parts = Few::new();
    let mut nth: usize = 0;
    for (name, spec) in keys.iter().zip(specs.iter()) {
        let name = KeyName::of(name);
        parts.push(match spec {
            Spec::String(limit, ask) => {
                let wish = before.and_then(|before| before.wish(nth));
                nth = nth.saturating_add(1);
                Mixed::string(call, name, *limit, wish.unwrap_or(Wish::Take(*ask)))
            }
            _ => Mixed::read(call, name, spec),
        });
    }
    parts
}

/// Refunds overdue holds to the limits of the call.
fn refund<'a>(
    call: &mut Call<'a>,
    keys: &'a [Argument<'a>],
    specs: &Few<Spec<'a>>,
    parts: &mut Few<Mixed<'a>>,
    refunds: &[(hold::Found, Vec<u8>)],
) -> Result<(), Error<'a>> {
    let overdue = || {
        refunds
            .iter()
            .filter_map(|(found, _)| match Record::parse(&found.record) {
                Some(Record::Open(open)) => Some(open),
                _ => None,
            })
    };
    for ((key, spec), part) in keys.iter().zip(specs.iter()).zip(parts.iter_mut()) {
        if let Spec::String(limit, _) = spec {
            let limit = limit.at(key.bytes());
            let charges = overdue().filter_map(|open| open.charge_to(limit));
            part.refund(call, charges.map(|charge| (charge.held(), charge.at)))?;
        }
    }
    Ok(())
}

/// Decides whether there is a place for the record, and the replies for the hold.
fn decide_hold<'a>(
    parts: &mut Few<Mixed<'a>>,
    key: &HoldsKey<'a>,
    hold: &HoldSpec<'a>,
    before: Option<&Before<'a>>,
) {
    let left = |deadline: i64| deadline.saturating_sub(key.now_ms);
    let old = before.map(|before| before.deadline);
    let new = key.now_ms.saturating_add(hold.ttl_ms);
    let new = old.map_or(new, |old| old.max(new));
    for part in parts.iter_mut() {
        if let Mixed::Hold(part) = part {
            *part = HoldPart {
                is_new: before.is_none(),
                has_place: key.has_place(),
                taken: hold::reply(Some(left(new)), key.records_with_own()),
                denied: hold::reply(old.map(left), key.records),
                name: key.name,
            };
        }
    }
}

/// Returns the record of a hold whose limits were charged.
fn record(
    key: &HoldsKey<'_>,
    asked: &Asked<'_>,
    before: Option<&Before<'_>>,
    parts: &Few<Mixed<'_>>,
    replies: &Replies,
) -> Vec<u8> {
    let mut used_until = key.now_ms;
    let mut charges = Vec::new();
    let strings = parts.iter().zip(replies.each.iter());
    let mut strings = strings.filter(|(part, _)| part.is_string());
    for (nth, (&limit, &cost)) in asked.limits.iter().zip(&asked.costs).enumerate() {
        let taken = strings
            .next()
            .and_then(|(part, reply)| Some((part.charged_at()?, reply)));
        let held = before.and_then(|before| before.charges.get(nth)).copied();
        match (taken, held) {
            (Some((at, reply)), _) => {
                used_until = used_until.max(key.now_ms.saturating_add(reply.reset_ms));
                charges.push(Charge {
                    limit,
                    cost,
                    at,
                    refunded: false,
                });
            }
            (None, Some(held)) => charges.push(held),
            (None, None) => {}
        }
    }
    let holds = |before: &&Before<'_>| before.charges.iter().any(|charge| charge.held() > 0);
    let before = (
        before.map(|before| before.deadline),
        before.filter(holds).map(|before| before.forget_at),
    );
    let ttl_ms = asked.hold.ttl_ms;
    let terms = Terms::new(key.now_ms, ttl_ms, asked.hold.else_free, used_until, before);
    terms.record(charges.into_iter())
}
