//! Nothing panics, overflows or wraps, whatever it is given. These run with the checks for
//! overflow that a release leaves out.

use proptest::prelude::*;
use redis_rl_limits::grammar::bucket;
use redis_rl_limits::kinds::bucket::{Bucket, Limit};
use redis_rl_limits::kinds::decision::{Ask, Limit as _, Mode, Standing as _, State as _};
use redis_rl_limits::kinds::error::Error;
use redis_rl_limits::kinds::rate::Rate;

use crate::cases::{any_size, config, limits};
use crate::oracle::{State, MAX_TOKENS, UNIT};

/// Generates 64-bit words as an attacker would choose them.
fn words() -> impl Strategy<Value = u64> {
    let edges = [
        0,
        1,
        u64::MAX,
        u64::MAX - 1,
        1 << 63,
        (1 << 63) - 1,
        MAX_TOKENS * UNIT,
        MAX_TOKENS * UNIT + 1,
        (MAX_TOKENS * UNIT).wrapping_neg(),
        (MAX_TOKENS * UNIT).wrapping_neg() - 1,
    ];
    prop_oneof![
        any_size(0..=u64::MAX),
        any::<u64>(),
        prop::sample::select(edges.to_vec())
    ]
}

fn any_mode() -> impl Strategy<Value = Mode> {
    prop_oneof![
        Just(Mode::Whole),
        Just(Mode::AtMost),
        Just(Mode::Force),
        words().prop_map(Mode::MaxWait),
    ]
}

proptest! {
    #![proptest_config(config(200_000))]

    #[test]
    fn no_state_at_any_time_overflows(
        limit in limits(),
        updated_at in words(),
        tokens in words(),
        now in words(),
        cost in words(),
        mode in any_mode(),
    ) {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&updated_at.to_le_bytes());
        bytes[8..].copy_from_slice(&tokens.to_le_bytes());
        let stored = Bucket::from_bytes(&bytes);
        prop_assert_eq!(stored.is_some(), State::read(&bytes).is_some());
        if let Some(stored) = stored {
            prop_assert_eq!(stored.to_bytes(), bytes);
        }
        let standing = limit.real.stand(stored, now);
        let taken = standing.take(&Ask { mode, ..Ask::whole(cost) });
        let refused = matches!(taken, Err(Error::Debt));
        let owing = matches!(mode, Mode::Force | Mode::MaxWait(_));
        prop_assert!(taken.is_ok() || refused && owing);
        let looked = standing.look(&Ask::whole(cost)).expect("any bucket can be looked at");
        for decision in [taken.unwrap_or(standing.give(cost)), standing.give(cost), looked] {
            let [taken, burst, remaining, wait, reset] = decision.reply.fields();
            prop_assert!(taken >= 0 && remaining >= 0 && wait >= -1 && reset >= 0);
            prop_assert!(remaining <= burst);
        }
        let bucket = Bucket::from_arrival_time(updated_at, now, &limit.real);
        prop_assert!(State::read(&bucket.to_bytes()).is_some());
    }

    #[test]
    fn no_bytes_of_a_call_or_a_key_panic(
        rate in prop::collection::vec(any::<u8>(), 0..50),
        burst in prop::collection::vec(any::<u8>(), 0..50),
        stored in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let _ = bucket::limit(&rate, &burst).map_err(|error| error.to_string());
        prop_assert_eq!(Bucket::from_bytes(&stored).is_some(), State::read(&stored).is_some());
    }

    #[test]
    fn count_and_period_are_accepted_as_by_the_oracle(count in words(), seconds in words(), burst in 1..=MAX_TOKENS) {
        let nanos = seconds.checked_mul(crate::oracle::SECOND);
        let rate = nanos.and_then(|nanos| Rate::new(count.into(), nanos));
        let limit = rate.and_then(|rate| Limit::new(rate, burst));
        let exact = (count > 0 && seconds > 0).then(|| {
            let nanos = seconds.checked_mul(crate::oracle::SECOND)?;
            let tokens = num_rational::BigRational::from_integer(count.into());
            crate::oracle::Limit::new(tokens, nanos, burst).ok()
        });
        prop_assert_eq!(limit.is_some(), exact.flatten().is_some());
    }
}
