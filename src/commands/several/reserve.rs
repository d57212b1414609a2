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
    let name = asked.name;
    let mut key = HoldsKey::read(call, name, asked.hold.id)?;
    let id = asked.hold.id.bytes();
    let before = match key.record()? {
        None => None,
        Some(Record::Settled(_)) => return Err(Fault::Settled(id).into()),
        Some(Record::Closed(_)) => return Err(Fault::Cancelled(id).into()),
        Some(Record::Open(open)) => Some(Before::of(&open, &asked).ok_or(Fault::Differs(id))?),
    };
    let mut parts = read_parts(call, keys, specs, before.as_ref());
    parts.iter().try_for_each(Mixed::check)?;

    if let Some(mut walk) = key.walk(call, before.is_none(), asked.limits())? {
        let refunds = walk.refunds();
        refund(call, keys, specs, &mut parts, &refunds)?;
        key.apply(call, walk, refunds)?;
    }
    decide_hold(&mut parts, &key, &asked.hold, before.as_ref());
    let mut replies = take_all_or_none(call, &parts, 1)?;
    if replies.taken == 0 {
        if !key.has_place() {
            replies.least_wait = key.wait_for_walk();
        }
        return Ok(replies);
    }
    let record = record(key.now_ms, asked, before.as_ref(), &parts, &replies);
    key.write(call, &record)?;
    match before {
        None => HOLDS.made.add(1),
        Some(_) => HOLDS.repeated.add(1),
    }
    call.notify(c"rl.hold", name.argument);
    Ok(replies)
}

/// The request of a call.
struct Asked<'a> {
    name: KeyName<'a>,
    hold: HoldSpec<'a>,
    /// The amounts that the buckets and windows must hold, in the order of the call, as if charged at
    /// time 0.
    charges: Vec<Charge<'a>>,
}

impl<'a> Asked<'a> {
    fn of(keys: &'a [Argument<'a>], specs: &Few<Spec<'a>>) -> Result<Self, Error<'a>> {
        let mut found = None;
        let mut charges = Vec::with_capacity(keys.len().min(MAX_HELD_LIMITS));
        for (key, spec) in keys.iter().zip(specs.iter()) {
            match spec {
                Spec::String(limit, ask) => charges.push(Charge {
                    limit: limit.at(key.bytes()),
                    cost: ask.cost,
                    at: 0,
                    refunded: false,
                }),
                Spec::Lease(lease) if lease.once => return Err(Fault::Once.into()),
                Spec::Lease(_) => {}
                Spec::Hold(_) if found.is_some() => return Err(Fault::Repeated.into()),
                Spec::Hold(hold) => found = Some((KeyName::of(key), *hold)),
            }
        }
        check_limits(charges.iter().map(|charge| charge.limit))?;
        let (name, hold) = found.ok_or(Fault::Missing)?;
        Ok(Self {
            name,
            hold,
            charges,
        })
    }

    /// Iterates over the buckets and windows.
    fn limits(&self) -> impl ExactSizeIterator<Item = Limited<'a>> + use<'_, 'a> {
        self.charges.iter().map(|charge| charge.limit)
    }
}

/// Checks that a hold can be made for these limits.
///
/// # Errors
/// There are none or too many, or their names are too long together.
pub fn check_limits<'l, 'a>(limits: impl Iterator<Item = Limited<'l>>) -> Result<(), Error<'a>> {
    let (mut count, mut names): (usize, usize) = (0, 0);
    for limit in limits {
        count = count.saturating_add(1);
        names = names.saturating_add(limit.name.len());
    }
    if !(1..=MAX_HELD_LIMITS).contains(&count) {
        return Err(Fault::Limits.into());
    }
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
        let is_same = open.is_for(asked.limits()) && open.else_free == asked.hold.else_free;
        let charges = asked.charges.iter().map(|asked| {
            let charge = open.charge_to(asked.limit)?;
            (charge.cost == asked.cost).then_some(Charge {
                limit: asked.limit,
                ..charge
            })
        });
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
    now_ms: i64,
    asked: Asked<'_>,
    before: Option<&Before<'_>>,
    parts: &Few<Mixed<'_>>,
    replies: &Replies,
) -> Vec<u8> {
    let mut charges = asked.charges;
    let mut used_until = now_ms;
    let strings = parts.iter().zip(replies.each.iter());
    let strings = strings.filter(|(part, _)| part.is_string());
    for (nth, (charge, (part, reply))) in charges.iter_mut().zip(strings).enumerate() {
        if let Some(at) = part.charged_at() {
            charge.at = at;
            used_until = used_until.max(now_ms.saturating_add(reply.reset_ms));
        } else if let Some(held) = before.and_then(|before| before.charges.get(nth)) {
            *charge = *held;
        }
    }
    let holds = |before: &&Before<'_>| before.charges.iter().any(|charge| charge.held() > 0);
    let before = (
        before.map(|before| before.deadline),
        before.filter(holds).map(|before| before.forget_at),
    );
    let hold = asked.hold;
    let terms = Terms::new(now_ms, hold.ttl_ms, hold.else_free, used_until, before);
    terms.record(charges.iter().copied())
}
