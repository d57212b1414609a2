//! A model of RL.ALL, written from the contract. It shares no code with the module.

use crate::oracle::{self, After, MILLI};
use crate::support::Reply;
use crate::windows::{self, decide, Call, Named};

/// The request for one limit of the call.
pub enum Spec {
    Bucket(oracle::Limit, u64, u64),
    Window(u64, Named, windows::Ask),
    /// Slots, milliseconds, token, KEEP, ONCE.
    Lease(i64, i64, String, i64, bool),
}

/// The content of a key: a string, or tokens with their ends, soonest first; and its expiry.
#[derive(Clone, Debug, PartialEq)]
pub enum Held {
    Text(Option<Vec<u8>>),
    Set(Vec<(String, f64)>),
}

pub struct Part {
    pub key: String,
    pub text: String,
    pub spec: Spec,
    pub before: Held,
    /// In milliseconds since 1970, or below zero.
    pub expires: i64,
    pub after: Held,
}

/// The result of a call for one limit at one time.
#[derive(Debug)]
struct Told {
    passes: bool,
    /// The reply if the call succeeds, and if it is denied.
    taken: Reply,
    looked: Reply,
    pub after: Held,
    /// For a lease, whether the call is a retry.
    made: Option<bool>,
}

impl Part {
    fn at(&self, now: u64) -> Told {
        match (&self.spec, &self.before) {
            (Spec::Bucket(limit, cost, keep), Held::Text(stored)) => {
                let state = stored
                    .as_ref()
                    .map(|bytes| oracle::State::read(bytes).expect("a bucket"));
                let whole = oracle::Mode::Whole;
                let take = limit
                    .take_keeping(state, now, *cost, *keep, whole)
                    .expect("no debt");
                let passes = take.reply[0] > 0;
                let look = if passes {
                    limit.look(state, now, *cost).reply
                } else {
                    take.reply
                };
                let after = match take.after {
                    After::Written(state, _) => Some(state.bytes().to_vec()),
                    After::Removed => None,
                    _ => stored.clone(),
                };
                Told {
                    passes,
                    taken: take.reply,
                    looked: look,
                    after: Held::Text(after),
                    made: None,
                }
            }
            (Spec::Window(limit, named, ask), Held::Text(stored)) => {
                let decide = |call| decide(*limit, *named, stored.as_deref(), now, call);
                let take = decide(Call::Take(*ask)).expect("a window");
                let looked = decide(Call::Look(*ask)).expect("a window").reply;
                let after = match take.after {
                    windows::After::Written(bytes, _) => Some(bytes),
                    windows::After::Removed => None,
                    windows::After::Kept => stored.clone(),
                };
                let passes = take.reply[0] > 0;
                Told {
                    passes,
                    taken: take.reply,
                    looked,
                    after: Held::Text(after),
                    made: None,
                }
            }
            (Spec::Lease(slots, ttl, token, keep, once), Held::Set(members)) => lease(
                *slots,
                *ttl,
                token,
                *keep,
                *once,
                members,
                (now / MILLI) as i64,
            ),
            _ => unreachable!("each key has its kind"),
        }
    }
}

/// A lease has seven numbers.
fn lease(
    slots: i64,
    ttl: i64,
    token: &str,
    keep: i64,
    once: bool,
    members: &[(String, f64)],
    now: i64,
) -> Told {
    let live: Vec<_> = members
        .iter()
        .filter(|(_, end)| *end > now as f64)
        .collect();
    let own = live.iter().find(|(name, _)| name == token);
    let end = own.map_or(0.0, |own| own.1).max((now + ttl) as f64);
    let mut after: Vec<_> = live
        .iter()
        .filter(|(name, _)| name != token)
        .copied()
        .cloned()
        .collect();
    let last =
        |ends: &[(String, f64)]| ends.iter().map(|end| end.1 as i64).max().unwrap_or(now) - now;
    let as_is: Vec<_> = live.iter().copied().cloned().collect();
    let too_many = live.len() as i64 + keep + 1 - slots;
    let wait = match (own, too_many) {
        (Some(_), _) | (None, ..=0) => 0,
        (None, n) if keep + 1 > slots => n.min(-1),
        (None, n) => live[n as usize - 1].1 as i64 - now,
    };
    let passes = own.is_some() || too_many <= 0;
    let free = |held: usize| (slots - held as i64).max(0);
    let looked = [
        i64::from(passes),
        slots,
        free(live.len()),
        wait,
        last(&as_is),
    ];
    after.push((token.to_owned(), end));
    let taken = [1, slots, free(after.len()), 0, last(&after)];
    after.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
    Told {
        passes,
        taken,
        looked,
        after: Held::Set(after),
        made: Some(once && own.is_some()),
    }
}

/// Returns the content without leases that have ended by then.
fn live(held: &Held, now: u64) -> Held {
    match held {
        Held::Set(members) => {
            let is_live = |end: f64| end > (now / MILLI) as f64;
            Held::Set(
                members
                    .iter()
                    .filter(|(_, end)| is_live(*end))
                    .cloned()
                    .collect(),
            )
        }
        text => text.clone(),
    }
}

/// Returns what is wrong with the reply and the written state, if the call came at this time.
pub fn fault(
    parts: &[Part],
    (taken, wait_ms, each): &(i64, i64, Vec<Reply>),
    now: u64,
    end: u64,
) -> Option<String> {
    let told: Vec<_> = parts.iter().map(|part| part.at(now)).collect();
    let mut leases = told.iter().filter_map(|told| told.made).peekable();
    let made = leases.peek().is_some() && leases.all(|made| made);
    let passes = told.iter().all(|told| told.passes);
    let expected: Vec<Reply> = told
        .iter()
        .map(|told| match (made, passes, told.made) {
            (true, _, Some(_)) | (false, true, _) => told.taken,
            (true, _, None) => [0, told.looked[1], told.looked[2], 0, told.looked[4]],
            (false, false, _) => told.looked,
        })
        .collect();
    let waits = || expected.iter().map(|reply| reply[3]);
    let wait = if waits().any(|wait| wait == -1) {
        -1
    } else {
        waits().max().unwrap_or(0)
    };
    if *taken != i64::from(made || passes) || *wait_ms != wait || *each != expected {
        return Some(format!(
            "made {made}, passes {passes}, wait {wait}, {expected:?}"
        ));
    }
    for (part, told) in parts.iter().zip(told) {
        let changes = passes && !made || made && told.made.is_some();
        let expected = if changes {
            told.after
        } else {
            part.before.clone()
        };
        let gone = matches!(part.after, Held::Text(None)) && !changes;
        if live(&part.after, end) != live(&expected, end) && !gone {
            return Some(format!(
                "{}: {:?} is not {expected:?}",
                part.key, part.after
            ));
        }
    }
    None
}
