//! Coverage-guided fuzzing of the parsers of rates and bursts, and of the bucket's arithmetic:
//! every decision must equal the oracle's, bit for bit. Started by `scripts/fuzz.sh`.

#![no_main]

#[path = "../../tests/oracle/mod.rs"]
mod oracle;

use libfuzzer_sys::fuzz_target;
use oracle::{After, Outcome, State, MAX_TOKENS, UNIT};
use redis_rl_limits::grammar::bucket;
use redis_rl_limits::kinds::bucket::{Bucket, Limit};
use redis_rl_limits::kinds::decision::{
    Ask, Change, Decision, Limit as _, Mode, Standing as _, State as _,
};
use redis_rl_limits::kinds::error::Error;

const NUMBERS: usize = 6;

fuzz_target!(|input: &[u8]| {
    let Some((numbers, text)) = input.split_at_checked(8 * NUMBERS) else {
        return;
    };
    let mut words = text.splitn(2, |&byte| byte == b' ');
    let (rate, burst) = (
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
    );
    let Some((real, exact)) = limits(rate, burst) else {
        return;
    };
    let word = |n: usize| u64::from_le_bytes(std::array::from_fn(|byte| numbers[8 * n + byte]));
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&numbers[..16]);
    decide(real, &exact, &bytes, [word(2), word(3), word(4), word(5)]);
});

/// Parses a limit with the crate and the oracle, which must agree.
fn limits(rate: &[u8], burst: &[u8]) -> Option<(Limit, oracle::Limit)> {
    let real = bucket::limit(rate, burst);
    if let Err(error) = real {
        assert!(!error.to_string().is_empty());
    }
    let exact = oracle::Limit::parse(rate, burst);
    if real.is_ok() || oracle::has_few_digits(rate) {
        assert_eq!(real.is_ok(), exact.is_ok(), "{real:?} {exact:?}");
    }
    Some((real.ok()?, exact.ok()?))
}

fn decide(real: Limit, exact: &oracle::Limit, bytes: &[u8; 16], words: [u64; 4]) {
    let [now, cost, wait, verb] = words;
    let (stored, state) = match verb & 8 {
        0 => (Bucket::from_bytes(bytes), State::read(bytes)),
        _ => (None, None),
    };
    assert_eq!(stored.is_some(), state.is_some());
    // Half of them are where decisions turn: the tokens that are there, and the wait for more.
    let there = u64::try_from(exact.level(state, now) / UNIT).unwrap_or(0);
    let cost = match verb & 16 {
        0 => cost % MAX_TOKENS + 1,
        _ => (there + cost % 2).clamp(1, MAX_TOKENS),
    };
    let due = exact.wait(state, now, &(num_bigint::BigInt::from(cost) * UNIT));
    let most = match verb & 32 {
        0 => wait,
        _ => u64::try_from(due).unwrap_or(0).saturating_sub(wait % 2),
    };
    let arrival = Bucket::from_arrival_time(wait, now, &real);
    let expected = exact.at_arrival_time(wait, now);
    assert_eq!(arrival.to_bytes(), expected.bytes());

    let standing = real.stand(stored, now);
    let take = |mode, same| {
        let taken = standing.take(&Ask {
            mode,
            ..Ask::whole(cost)
        });
        assert!(matches!(taken, Ok(_) | Err(Error::Debt)));
        (
            taken.ok().map(|decision| outcome(decision, real)),
            exact.take(state, now, cost, same),
        )
    };
    let (decided, expected) = match verb % 6 {
        0 => take(Mode::Whole, oracle::Mode::Whole),
        1 => take(Mode::AtMost, oracle::Mode::AtMost),
        2 => take(Mode::Force, oracle::Mode::Force),
        3 => take(Mode::MaxWait(most), oracle::Mode::MaxWait(most)),
        4 => (
            Some(outcome(standing.give(cost), real)),
            Some(exact.give(state, now, cost)),
        ),
        _ => (
            standing
                .look(&Ask::whole(cost))
                .ok()
                .map(|looked| outcome(looked, real)),
            Some(exact.look(state, now, cost)),
        ),
    };
    assert_eq!(decided, expected);
}

fn outcome(decision: Decision<Bucket>, limit: Limit) -> Outcome {
    Outcome {
        reply: decision.reply.fields(),
        after: match decision.change {
            Change::Keep => After::Kept,
            Change::KeepAlive(until) => After::KeptUntil(until),
            Change::Remove => After::Removed,
            Change::Write(bucket, expires) => {
                let state = State::read(&bucket.to_bytes()).expect("a bucket that is stored");
                After::Written(state, expires)
            }
        },
    }
}
