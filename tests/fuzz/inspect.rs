//! RL.INSPECT, held to what the key was found to hold.

use redis::Value;

use crate::check::{may_have_expired, Moment, NOTHING};
use crate::holds;
use crate::mixed::untouched;
use crate::oracle::{State, MILLI, UNIT};
use crate::windows::Stored;
use crate::wire::{Content, Found};

/// The key of the call, or `None` if its number of words is wrong.
pub struct Call(pub Option<Vec<u8>>);

/// Sub-windows that count in addition to the newest.
const OLDER: i128 = 16;

/// `None`: another command.
pub fn parse(words: &[Vec<u8>]) -> Option<Call> {
    let (name, arguments) = words.split_first()?;
    let key = match arguments {
        [key] => Some(key.clone()),
        _ => None,
    };
    name.eq_ignore_ascii_case(b"RL.INSPECT")
        .then_some(Call(key))
}

impl Call {
    /// Returns what was seen, or why it cannot be.
    pub fn held(
        &self,
        reply: &Value,
        before: &Found,
        after: &Found,
        moment: &Moment,
    ) -> Result<&'static str, String> {
        untouched(before, after, moment)?;
        match (&self.0, reply) {
            (None, Value::ServerError(error)) if error.details().is_some_and(is_usage) => {
                Ok("wrong call")
            }
            (Some(_), Value::Array(fields)) => {
                let fields: Vec<_> = fields.iter().map(shown).collect();
                let told = report(before, &fields, moment);
                match may_have_expired(before, moment) {
                    true => told.or_else(|_| report(&NOTHING, &fields, moment)),
                    false => told,
                }
            }
            _ => Err("another reply".to_owned()),
        }
    }
}

fn is_usage(text: &str) -> bool {
    text.starts_with("usage: RL.INSPECT key")
}

fn shown(value: &Value) -> String {
    match value {
        Value::BulkString(text) => text.escape_ascii().to_string(),
        Value::Int(n) => n.to_string(),
        other => format!("{other:?}"),
    }
}

fn report(found: &Found, fields: &[String], moment: &Moment) -> Result<&'static str, String> {
    let [kind_name, kind, bytes_name, bytes, ttl_name, ttl, rest @ ..] = fields else {
        return Err("too few fields".to_owned());
    };
    let ttl: i64 = ttl.parse().map_err(|_| "ttl_ms is not a number")?;
    let now = [moment.from, moment.to].map(|at| (at / MILLI) as i64);
    let ttl_fits = match (&found.content, found.expires) {
        (Content::Nothing, _) => ttl == -2,
        (_, None) => ttl == -1,
        (_, Some(at)) => ((at - now[1]).max(0)..=(at - now[0]).max(0)).contains(&ttl),
    };
    let names = [kind_name, bytes_name, ttl_name] == ["kind", "bytes", "ttl_ms"];
    let (expected, len, own) = own_fields(&found.content, now);
    // The length of another type is not among what is found.
    let len_fits = len.is_none_or(|len| *bytes == len.to_string());
    let own_fit = own.is_empty() && rest.is_empty() || own.iter().any(|own| own == rest);
    match names && ttl_fits && len_fits && kind == expected && (own_fit || expected == "leases") {
        true => Ok("inspected"),
        false => Err(format!("expected {expected} {len:?} {own:?}")),
    }
}

/// Returns the kind, its length, and the fields of the kind at either time.
fn own_fields(content: &Content, now: [i64; 2]) -> (&'static str, Option<usize>, Vec<Vec<String>>) {
    let fields = |pairs: &[(&str, i128)]| {
        let words = pairs
            .iter()
            .map(|(name, n)| [(*name).to_owned(), n.to_string()]);
        words.flatten().collect::<Vec<_>>()
    };
    match content {
        Content::Nothing => ("none", Some(0), Vec::new()),
        Content::Leases(ends) => ("leases", Some(ends.len() + 1), Vec::new()),
        Content::Other(_) => ("other", None, Vec::new()),
        Content::Holds(of) => {
            let own = |now| {
                let [open, overdue, remembered, first] = holds::counts(of, now).unwrap_or_default();
                fields(&[
                    ("open", open.into()),
                    ("overdue", overdue.into()),
                    ("remembered", remembered.into()),
                    ("first_deadline_ms", first.into()),
                ])
            };
            let times = now[0]..=now[1];
            ("holds", Some(of.len()), times.map(own).collect())
        }
        Content::Text(bytes) => match (State::read(bytes), Stored::read(bytes)) {
            (Some(state), _) => {
                let tokens = state.tokens.div_euclid(UNIT as i64);
                let updated = state.updated_at / MILLI;
                let own = fields(&[("tokens", tokens.into()), ("updated_ms", updated.into())]);
                ("bucket", Some(bytes.len()), vec![own])
            }
            (_, Some(Stored::Fixed { start, end, used })) => {
                let own = [
                    ("used", used.into()),
                    ("start_ms", start.into()),
                    ("end_ms", end.into()),
                ];
                ("window", Some(bytes.len()), vec![fields(&own)])
            }
            (
                _,
                Some(Stored::Sliding {
                    length,
                    newest,
                    taken,
                }),
            ) => {
                let own = |now: i64| {
                    let newest_now = OLDER * i128::from(now) / i128::from(length);
                    // After a clock step back all of it counts.
                    let is_ahead = i128::from(newest) > newest_now;
                    let counts = |k: i128| is_ahead || newest_now - k <= OLDER;
                    let used = taken
                        .iter()
                        .filter(|(k, _)| counts(**k))
                        .map(|(_, n)| n)
                        .sum();
                    fields(&[("window_ms", length.into()), ("used", used)])
                };
                ("sliding", Some(bytes.len()), now.map(own).to_vec())
            }
            _ => ("other", Some(bytes.len()), Vec::new()),
        },
    }
}
