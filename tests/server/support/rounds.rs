//! The calls that clients under pressure send together, and the evaluation of the replies.

use std::ops::RangeInclusive;

use redis::Value;

use crate::support::ledger::{assert_refused, window, Book, Sign};
use crate::support::ledger::{BUCKETS, BURST, LIMIT, LIMITS, RATE};
use crate::support::traffic::{command, Dice};

/// Calls the commands in ARGV, each after the number of its words, and returns the marker.
const SCRIPT: &str = "
    local out = {redis.call('GET', KEYS[1])}
    local at = 1
    while at <= #ARGV do
        local last = at + tonumber(ARGV[at])
        out[#out + 1] = redis.pcall(unpack(ARGV, at + 1, last))
        at = last + 1
    end
    return out";

/// Calls that are sent together, after a database is selected.
pub struct Round {
    form: Form,
    database: u64,
    calls: Vec<Call>,
}

#[derive(Clone, Copy)]
enum Form {
    /// One by one, with a reading of the marker before, between and after.
    Plain,
    Transaction,
    Script,
}

impl Round {
    pub fn roll(dice: &mut Dice) -> Self {
        let form = [Form::Plain, Form::Plain, Form::Transaction, Form::Script];
        let calls = 1..=dice.roll(1..9);
        Self {
            form: form[dice.roll(0..4) as usize],
            database: dice.roll(0..2),
            calls: calls.map(|_| Call::roll(dice)).collect(),
        }
    }

    pub fn packed(&self) -> Vec<u8> {
        let look = words(&format!("GET {}", Sign::KEY));
        let mut bytes = words(&format!("SELECT {}", self.database));
        match self.form {
            Form::Plain => {
                bytes.extend_from_slice(&look);
                for call in &self.calls {
                    bytes.extend(call.packed());
                    bytes.extend_from_slice(&look);
                }
            }
            Form::Transaction => {
                bytes.extend(words("MULTI"));
                bytes.extend_from_slice(&look);
                bytes.extend(self.calls.iter().flat_map(Call::packed));
                bytes.extend(words("EXEC"));
            }
            Form::Script => {
                let mut eval = redis::cmd("EVAL");
                eval.arg(SCRIPT).arg(1).arg(Sign::KEY);
                for call in &self.calls {
                    eval.arg(call.words.len()).arg(&call.words);
                }
                bytes.extend(eval.get_packed_command());
            }
        }
        bytes
    }

    pub fn replies(&self) -> usize {
        match self.form {
            Form::Plain => 2 + 2 * self.calls.len(),
            Form::Transaction => 4 + self.calls.len(),
            Form::Script => 2,
        }
    }

    /// Books what became of the calls. Where replies are missing, they may have come to anything.
    pub fn settle(&self, replies: &[Value], epochs: &RangeInclusive<u64>, book: &mut Book) {
        let replies = replies.get(1..).unwrap_or_default();
        let whole = match (self.form, replies) {
            (Form::Transaction, [Value::Okay, .., done]) if replies.len() + 1 == self.replies() => {
                Some(done)
            }
            (Form::Script, [done]) => Some(done),
            _ => None,
        };
        match (whole, self.form) {
            (Some(Value::Array(done)), _) => {
                let sign = Sign::read(&done[0]).expect("a sign inside a whole");
                for (call, reply) in self.calls.iter().zip(&done[1..]) {
                    call.book(Some(reply), Some(sign), epochs, book);
                }
            }
            (Some(refused), _) => assert_refused(refused),
            (None, Form::Plain) => {
                for (n, call) in self.calls.iter().enumerate() {
                    let look = |at: usize| replies.get(at).and_then(Sign::read);
                    let (before, after) = (look(2 * n), look(2 * n + 2));
                    let sign = before.filter(|_| before == after);
                    let first = before.map_or(*epochs.start(), |sign| sign.account.epoch);
                    let last = after.map_or(*epochs.end(), |sign| sign.account.epoch);
                    call.book(replies.get(2 * n + 1), sign, &(first..=last), book);
                }
            }
            (None, _) => {
                // Not even begun, if MULTI was refused: then each call stood alone.
                let alone = matches!(replies.first(), Some(Value::ServerError(_)));
                for (n, call) in self.calls.iter().enumerate() {
                    let reply = replies.get(n + 2).filter(|_| alone);
                    call.book(reply, None, epochs, book);
                }
            }
        }
    }
}

/// A call, and what it does to the account.
pub struct Call {
    words: Vec<String>,
    /// By their numbers, windows after buckets.
    limits: Vec<usize>,
    /// Tokens, at most; below zero if they go back.
    cost: i64,
}

impl Call {
    pub fn roll(dice: &mut Dice) -> Self {
        let first = dice.roll(0..BUCKETS as u64) as usize;
        let cost = dice.roll(1..200) as i64;
        let limit = format!("{RATE} {BURST}");
        let on = |command: &str, options: &str, cost: i64| {
            let text = format!(
                "{command} bucket:{first} {limit} COST {} {options}",
                cost.abs()
            );
            Self::new(text, vec![first], cost)
        };
        match dice.roll(0..32) {
            29.. => Self::on_leases(dice),
            26.. => Self::on_all_kinds(first, dice, cost),
            n @ 20.. => Self::on_window(n, dice, cost),
            0 | 1 => on("RL.GIVE", "", -cost),
            2 => on("RL.TAKE", "ATMOST", cost),
            3 => on("RL.TAKE", "MAXWAIT 20", cost),
            // Dear ones would leave the buckets owing for ever.
            4 => on("RL.TAKE", "FORCE", 1),
            5 => on("RL.PEEK", "", cost).of_no_limit(),
            6 => {
                let most = BURST - 1;
                let text = format!("CL.THROTTLE bucket:{first} {most} {RATE} 1 {cost}");
                Self::new(text, vec![first], cost)
            }
            7 | 8 => {
                let buckets: Vec<_> = (0..4).map(|n| (first + n) % BUCKETS).collect();
                let each = buckets.iter().map(|n| format!("bucket:{n} {limit}"));
                let each = each.collect::<Vec<_>>().join(" ");
                Self::new(format!("RL.MTAKE 4 {each} COST {cost}"), buckets, cost)
            }
            9 => Self::new("RL.TOP 3".into(), vec![], 0),
            10 => {
                let new = dice.roll(0..1_000_000);
                Self::new(format!("RL.TAKE new:{new} 1000 1"), vec![], 0)
            }
            _ => on("RL.TAKE", "", cost),
        }
    }

    fn on_window(n: u64, dice: &mut Dice, cost: i64) -> Self {
        let limit = dice.roll(BUCKETS as u64..LIMITS as u64) as usize;
        let (key, window) = window(limit);
        let on = |command: &str, options: &str, cost: i64| {
            let cost_text = cost.abs();
            let text = format!("{command} {key} {LIMIT} {window} COST {cost_text} {options}");
            Self::new(text, vec![limit], cost)
        };
        match n {
            20 => on("RL.WGIVE", "", -cost),
            21 => on("RL.WPEEK", "", cost).of_no_limit(),
            22 => on("RL.WTAKE", "FORCE", cost),
            23 => {
                let new = dice.roll(0..1_000_000);
                Self::new(format!("RL.WTAKE new:window:{new} 1 100ms"), vec![], 0)
            }
            24 => on("RL.WTAKE", "ATMOST KEEP 5", cost),
            _ => on("RL.WTAKE", "", cost),
        }
    }

    /// Two buckets, a window and a lease, which denies the others now and then.
    fn on_all_kinds(first: usize, dice: &mut Dice, cost: i64) -> Self {
        let second = (first + 1) % BUCKETS;
        let limit = dice.roll(BUCKETS as u64..LIMITS as u64) as usize;
        let (key, window) = window(limit);
        let bucket = format!("BUCKET {RATE} {BURST} COST {cost}");
        let (slots, token) = (dice.roll(1..9), dice.roll(0..1_000_000));
        let text = format!(
            "RL.ALL 4 bucket:{first} bucket:{second} {key} slots {bucket} {bucket} \
             WINDOW {LIMIT} {window} COST {cost} LEASE {slots} 20ms t{token}"
        );
        Self::new(text, vec![first, second, limit], cost)
    }

    fn on_leases(dice: &mut Dice) -> Self {
        let token = dice.roll(0..50);
        let text = match dice.roll(0..4) {
            0 => format!("RL.RENEW slots 50ms t{token}"),
            1 => format!("RL.RELEASE slots t{token}"),
            _ => format!("RL.ACQUIRE slots 9 100ms t{token}"),
        };
        Self::new(text, vec![], 0)
    }

    fn new(text: String, limits: Vec<usize>, cost: i64) -> Self {
        let words = text.split_whitespace().map(str::to_owned).collect();
        Self {
            words,
            limits,
            cost,
        }
    }

    fn of_no_limit(self) -> Self {
        Self {
            limits: vec![],
            ..self
        }
    }

    pub fn packed(&self) -> Vec<u8> {
        command(&self.words).get_packed_command()
    }

    /// Books it: under the marker, as in doubt without one, and entirely in doubt without a reply.
    fn book(
        &self,
        reply: Option<&Value>,
        sign: Option<Sign>,
        epochs: &RangeInclusive<u64>,
        book: &mut Book,
    ) {
        let tokens = match reply {
            Some(Value::Array(fields)) => self.tokens(fields),
            // How many leases were renewed, or released.
            Some(Value::Int(_)) => 0,
            // Only a limit that is not there needs memory, and a lease.
            Some(Value::ServerError(error)) if error.code() == "OOM" => {
                let has_lease = self.words[0] == "RL.ALL";
                let new = self.limits.is_empty() || has_lease;
                assert!(new, "{:?}: {error}", self.words);
                return;
            }
            Some(refused) => return assert_refused(refused),
            None => self.cost,
        };
        for &limit in &self.limits {
            match sign {
                Some(sign) if reply.is_some() => book.sure(sign.account, limit, tokens),
                _ => book.doubt(epochs, limit, tokens),
            }
        }
    }

    /// Returns the tokens taken according to the reply.
    fn tokens(&self, fields: &[Value]) -> i64 {
        let number = |at: usize| match fields.get(at) {
            Some(Value::Int(n)) => *n,
            _ => panic!("{:?}: a wrong reply: {fields:?}", self.words),
        };
        match self.words[0].as_str() {
            "RL.TOP" => 0,
            "RL.MTAKE" => number(0),
            "RL.ALL" => self.cost * number(0),
            name => {
                assert!(fields.len() == 5 && number(2) <= number(1), "{fields:?}");
                match name {
                    "RL.GIVE" | "RL.WGIVE" => -number(0),
                    "CL.THROTTLE" => self.cost * (1 - number(0)),
                    _ => number(0),
                }
            }
        }
    }
}

pub fn words(text: &str) -> Vec<u8> {
    let words: Vec<_> = text.split(' ').map(str::to_owned).collect();
    command(&words).get_packed_command()
}
