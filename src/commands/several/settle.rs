//! `RL.SETTLE numkeys key [key …] spec [spec …]`: replaces the estimates of a hold by the amounts
//! used, and releases leases. A settlement counts once, however often it is sent.

use crate::commands::error::Error;
use crate::commands::hold_error::Fault;
use redis_rl_limits::bounds::MAX_HELD_LIMITS;
use redis_rl_limits::kinds::hold::{self, closed, settled, Limited, Record};

use super::hold_part::HoldPart;
use super::holds_key::HoldsKey;
use super::numkeys::{spec_for_each, split};
use super::part::Mixed;
use super::release_part::ReleasePart;
use super::reply::Replies;
use super::reserve::check_limits;
use super::settle_spec::SettleSpec;
use super::small_vec::Few;
use super::string_part::Wish;
use super::take_all::{answer, Part as _};
use crate::commands::command::{Command, BURST, HOLDS_VERSION, KEY, LIMIT, RATE, TOKEN};
use crate::commands::window::arguments::WINDOW;
use crate::server::{Access, Argument, Call, Description, Doc, KeyName, Keys};
use crate::stats::HOLDS;

/// The command.
pub struct Settle;

const USED: Doc = Doc::integer(c"used").after(c"USED");

impl Command for Settle {
    const DESCRIPTION: Description = Description {
        name: c"RL.SETTLE",
        since: HOLDS_VERSION,
        access: Access::Write,
        keys: Keys::Counted { step: 1 },
        summary:
            c"Replaces the estimates of a hold by the amounts used, once, and releases leases.",
        complexity: c"O(N*log(M)) where N is the number of limits and M that of \
                      leases",
        arguments: &[
            Doc::integer(c"numkeys"),
            KEY.multiple(),
            Doc::one_of(
                c"spec",
                &[
                    Doc::block(c"bucket", &[RATE, BURST, USED]).after(c"BUCKET"),
                    Doc::block(c"window", &[LIMIT, WINDOW, USED]).after(c"WINDOW"),
                    Doc::block(c"lease", &[TOKEN]).after(c"LEASE"),
                    Doc::block(c"hold", &[Doc::string(c"id")]).after(c"HOLD"),
                ],
            )
            .multiple(),
        ],
        tips: None,
    };
    const SYNTAX: &'static str = "RL.SETTLE numkeys key [key ...] spec [spec ...], where a spec \
        is BUCKET rate burst USED n | WINDOW limit window USED n | LEASE token | HOLD id";
    type Answer = Replies;

    fn run<'a>(call: &mut Call<'a>) -> Result<Replies, Error<'a>> {
        let (keys, words) = split(call.arguments(), 1, Self::SYNTAX)?;
        call.keep_open(keys, 1).map_err(Error::RepeatedKey)?;
        let specs = spec_for_each(keys, words, |words| SettleSpec::parse(words, Self::SYNTAX))?;
        settle(call, keys, &specs)
    }
}

/// The record that a settlement found under the id.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    Open { is_late: bool },
    Settled,
    Closed,
    Nothing,
}

fn settle<'a>(
    call: &mut Call<'a>,
    keys: &'a [Argument<'a>],
    specs: &Few<SettleSpec<'a>>,
) -> Result<Replies, Error<'a>> {
    let (name, id, limits) = asked(keys, specs)?;
    let key = HoldsKey::read(call, name, id)?;
    let record = key.record()?;
    let found = match record {
        Some(Record::Open(open)) if open.is_for(limits.iter().copied()) => Found::Open {
            is_late: open.is_overdue(key.now_ms),
        },
        Some(Record::Open(_)) => return Err(Fault::OtherLimits(id.bytes()).into()),
        Some(Record::Settled(_)) => Found::Settled,
        Some(Record::Closed(_)) => Found::Closed,
        None => Found::Nothing,
    };
    let mut parts = read_parts(call, keys, specs, record)?;
    parts.iter().try_for_each(Mixed::check)?;

    // A settlement is never denied, so it needs no memory that it may not have.
    let closes = found == Found::Nothing && key.has_place() && call.check_memory().is_ok();
    let status = match found {
        Found::Open { .. } => 1,
        Found::Settled => 0,
        Found::Closed | Found::Nothing => -1,
    };
    let records = match closes {
        true => key.records_with_own(),
        false => key.records,
    };
    for part in parts.iter_mut() {
        if let Mixed::Hold(part) = part {
            part.taken = hold::reply(None, records);
        }
    }
    let replies = answer(status, &parts, |part| part.take(call))?;
    let written = match found {
        Found::Open { .. } => Some(settled(key.now_ms)),
        Found::Nothing if closes => Some(closed(key.now_ms)),
        _ => None,
    };
    if let Some((record, _)) = written {
        key.write(call, &record)?;
        call.notify(c"rl.settle", name.argument);
    }
    count(found);
    Ok(replies)
}

/// The holds key, the id, and the buckets and windows.
type Asked<'a> = (KeyName<'a>, &'a Argument<'a>, Vec<Limited<'a>>);

fn asked<'a>(
    keys: &'a [Argument<'a>],
    specs: &Few<SettleSpec<'a>>,
) -> Result<Asked<'a>, Error<'a>> {
    let mut found = None;
    let mut limits = Vec::with_capacity(keys.len().min(MAX_HELD_LIMITS));
    for (key, spec) in keys.iter().zip(specs.iter()) {
        match spec {
            SettleSpec::String(limit, _) => limits.push(limit.at(key.bytes())),
            SettleSpec::Lease(_) => {}
            SettleSpec::Hold(_) if found.is_some() => return Err(Fault::Repeated.into()),
            SettleSpec::Hold(id) => found = Some((KeyName::of(key), *id)),
        }
    }
    let (name, id) = found.ok_or(Fault::Missing)?;
    check_limits(limits.iter().copied())?;
    Ok((name, id, limits))
}

fn read_parts<'a>(
    call: &mut Call<'a>,
    keys: &'a [Argument<'a>],
    specs: &Few<SettleSpec<'a>>,
    record: Option<Record<'_>>,
) -> Result<Few<Mixed<'a>>, Error<'a>> {
    let open = match record {
        Some(Record::Open(open)) => Some(open),
        _ => None,
    };
    let mut parts = Few::new();
    for (argument, spec) in keys.iter().zip(specs.iter()) {
        let name = KeyName::of(argument);
        parts.push(match *spec {
            SettleSpec::String(limit, used) => {
                let charge = open.and_then(|open| open.charge_to(limit.at(name.bytes)));
                let wish = charge.map_or(Wish::NOTHING, |charge| Wish::Hold {
                    held: charge.held(),
                    amount: used,
                    charged_at: charge.at,
                });
                Mixed::string(call, name, limit, wish)
            }
            SettleSpec::Lease(token) => Mixed::Release(ReleasePart::read(call, argument, token)?),
            SettleSpec::Hold(_) => Mixed::Hold(HoldPart::undecided(name)),
        });
    }
    Ok(parts)
}

fn count(found: Found) {
    match found {
        Found::Open { is_late } => {
            HOLDS.settled.add(1);
            HOLDS.settled_late.add(u64::from(is_late));
        }
        Found::Settled => {}
        Found::Closed | Found::Nothing => HOLDS.unknown.add(1),
    }
}
