//! `RL.ALL numkeys key [key …] spec [spec …]`: charges every limit, of any kind, or none.

use crate::commands::error::Error;

use super::limit_spec::{LeaseSpec, Spec};
use super::numkeys::{spec_for_each, split};
use super::part::Mixed;
use super::reply::Replies;
use super::reserve::reserve;
use super::small_vec::Few;
use super::take_all::{answer, take_all_or_none};
use crate::commands::command::{
    Command, BURST, COST, KEEP, KEY, LEASES_VERSION, LIMIT, RATE, TOKEN, TTL,
};
use crate::commands::window::arguments::WINDOW;
use crate::server::{Access, Call, Description, Doc, KeyName, Keys};

/// The command.
pub struct All;

impl Command for All {
    const DESCRIPTION: Description = Description {
        name: c"RL.ALL",
        since: LEASES_VERSION,
        access: Access::Write,
        keys: Keys::Counted { step: 1 },
        summary: c"Charges several limits of any kind, or none of them.",
        complexity: c"O(N*log(M)) where N is the number of limits and M the number \
                      of leases",
        arguments: &[
            Doc::integer(c"numkeys"),
            KEY.multiple(),
            Doc::one_of(
                c"spec",
                &[
                    Doc::block(c"bucket", &[RATE, BURST, COST, KEEP]).after(c"BUCKET"),
                    Doc::block(c"window", &[LIMIT, WINDOW, COST, KEEP]).after(c"WINDOW"),
                    Doc::block(
                        c"lease",
                        &[
                            LIMIT,
                            TTL,
                            TOKEN,
                            KEEP,
                            Doc::token(c"once", c"ONCE").optional(),
                        ],
                    )
                    .after(c"LEASE"),
                    Doc::block(
                        c"hold",
                        &[
                            TTL,
                            Doc::string(c"id"),
                            Doc::one_of(
                                c"otherwise",
                                &[
                                    Doc::token(c"free", c"FREE"),
                                    Doc::token(c"charge", c"CHARGE"),
                                ],
                            )
                            .after(c"ELSE")
                            .optional(),
                        ],
                    )
                    .after(c"HOLD"),
                ],
            )
            .multiple(),
        ],
        tips: None,
    };
    const SYNTAX: &'static str = "RL.ALL numkeys key [key ...] spec [spec ...], where a spec is \
        BUCKET rate burst [COST n] [KEEP n] | WINDOW limit window [COST n] [KEEP n] | \
        LEASE limit ttl token [KEEP n] [ONCE] | HOLD ttl id [ELSE FREE | ELSE CHARGE]";
    type Answer = Replies;

    fn run<'a>(call: &mut Call<'a>) -> Result<Replies, Error<'a>> {
        let (keys, words) = split(call.arguments(), 1, Self::SYNTAX)?;
        call.keep_open(keys, 1).map_err(Error::RepeatedKey)?;
        let specs = spec_for_each(keys, words, |words| Spec::parse(words, Self::SYNTAX))?;
        check_once(&specs)?;
        if specs.iter().any(|spec| matches!(spec, Spec::Hold(_))) {
            return reserve(call, keys, &specs);
        }
        let mut parts = Few::new();
        for (name, spec) in keys.iter().zip(specs.iter()) {
            parts.push(Mixed::read(call, KeyName::of(name), spec));
        }
        if is_retry(&specs, &parts) {
            return answer(1, &parts, |part| part.retry(call));
        }
        parts.iter().try_for_each(Mixed::check)?;
        take_all_or_none(call, &parts, 1)
    }
}

/// Returns the LEASE specs.
fn leases<'s, 'a>(specs: &'s Few<Spec<'a>>) -> impl Iterator<Item = &'s LeaseSpec<'a>> {
    specs.iter().filter_map(|spec| match spec {
        Spec::Lease(lease) => Some(lease),
        _ => None,
    })
}

/// Checks that ONCE is on every LEASE or on none: a retry would otherwise charge again.
fn check_once<'a>(specs: &Few<Spec<'a>>) -> Result<(), Error<'a>> {
    match leases(specs).any(|lease| lease.once) && !leases(specs).all(|lease| lease.once) {
        true => Err(Error::OnceOnSome),
        false => Ok(()),
    }
}

/// Returns whether the call is a retry: it has a LEASE, and each LEASE has ONCE and a token that
/// holds a slot.
fn is_retry(specs: &Few<Spec<'_>>, parts: &Few<Mixed<'_>>) -> bool {
    let mut both = specs.iter().zip(parts.iter());
    leases(specs).next().is_some()
        && both.all(|(spec, part)| !matches!(spec, Spec::Lease(_)) || part.was_made_before())
}
