//! The accepted rates and bursts, and the exact value of a rate.

use num_rational::BigRational;
use proptest::prelude::*;
use redis_rl_limits::grammar::bucket;
use redis_rl_limits::grammar::bucket::Error;
use redis_rl_limits::kinds::decision::Mode;

use crate::cases::{any_size, config, limits, Pair};
use crate::oracle::{self, Refusal, State, MAX_TOKENS, UNIT};
use crate::world::{outcome, Call};

fn matching(pattern: &str) -> impl Strategy<Value = String> {
    prop::string::string_regex(pattern).expect("a pattern")
}

/// Generates texts that resemble rates, and some that are.
fn rate_texts() -> impl Strategy<Value = Vec<u8>> {
    let units = "(ms|s|m|h|d|w|S|M|MS|sec|Mins|hours|Hr|Day|weeks|month|)";
    let like = format!("[0-9]{{1,14}}(\\.[0-9]{{0,12}})?(/[0-9]{{0,6}}{units}){{0,1}}");
    let printed = format!(
        "[0-9](\\.[0-9]{{1,16}})?[eE][-+]?[0-3]?[0-9](/[1-9]{{0,1}}(e[0-9])?{units}){{0,1}}"
    );
    let go =
        "[0-9](\\.[0-9]{1,3})?/([0-9]{0,2}w)?([0-9]{0,3}[dD])?([0-9]{0,3}(h|Hr))?([0-9]{0,3}m)?\
              ([0-9]{0,3}(\\.[0-9]{0,4})?(s|ms))?";
    let long = "[0-9]{0,25}(\\.[0-9]{0,25})?(/[0-9]{0,25}(ms|s|m|h|d|)){0,1}";
    let zeros = "0{0,3}[0-9]{1,3}\\.[0-9]{0,3}0{0,20}(/0{0,3}[1-9]{0,1}(ms|s|m|h|d)){0,1}";
    let odd = "[-+ 0-9./eEx_smhd]{0,12}";
    let text = prop_oneof![4 => matching(&like), 4 => matching(&printed), 2 => go, 2 => long, 2 => zeros, 2 => odd];
    let spoilt = (limits(), any::<prop::sample::Index>(), any::<u8>()).prop_map(|(l, at, byte)| {
        let mut text = l.rate.into_bytes();
        let at = at.index(text.len());
        text[at] = byte;
        text
    });
    prop_oneof![
        6 => text.prop_map(String::into_bytes),
        3 => spoilt,
        1 => prop::collection::vec(any::<u8>(), 0..40),
    ]
}

fn burst_texts() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => any_size(0..=2 * MAX_TOKENS).prop_map(|n| n.to_string().into_bytes()),
        2 => "0{0,30}[0-9]{0,12}".prop_map(String::into_bytes),
        1 => "[-+ 0-9.e]{0,5}".prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..40),
    ]
}

proptest! {
    #![proptest_config(config(200_000))]

    #[test]
    fn rates_are_accepted_as_by_the_oracle(rate in rate_texts(), burst in burst_texts()) {
        let real = bucket::limit(&rate, &burst);
        let exact = oracle::Limit::parse(&rate, &burst);
        let shown = (rate.escape_ascii().to_string(), burst.escape_ascii().to_string());
        match exact {
            Ok(_) if !oracle::has_few_digits(&rate) => {}
            Ok(_) => prop_assert!(real.is_ok(), "{:?} {:?}", shown, real),
            Err(Refusal::Rate) => {
                prop_assert_eq!(real, Err(Error::Rate(&rate)), "{:?}", shown);
            }
            // A rate that is too slow may also exceed the words of a rate.
            Err(Refusal::Slow) => {
                let named =
                    matches!(real, Err(Error::TooSlow | Error::TooSlowToRepay | Error::Rate(_)));
                prop_assert!(named, "{:?} {:?}", shown, real);
            }
            // Both may be wrong, and one of them is named.
            Err(Refusal::Burst) => {
                let named = matches!(real, Err(Error::Burst(_) | Error::Rate(_)));
                prop_assert!(named, "{:?} {:?}", shown, real);
            }
        }
    }
}

/// Returns the units that a deep debt gains in that time.
fn gained(limit: &Pair, nanos: u64) -> i64 {
    let tokens = -i64::try_from((MAX_TOKENS - 1) * UNIT).expect("small");
    let owing = State {
        updated_at: 0,
        tokens,
    };
    let decision = Call::Take(1, Mode::Force).decide(Some(owing), nanos, limit.real);
    match outcome(&decision.expect("the debt may be had")).after {
        oracle::After::Written(state, _) => {
            state.tokens - tokens + i64::try_from(UNIT).expect("small")
        }
        after => panic!("a forced take is {after:?}"),
    }
}

proptest! {
    #![proptest_config(config(60_000))]

    #[test]
    fn rate_is_exact(limit in limits(), nanos in any_size(0..=u64::MAX)) {
        let longest = limit.exact.nanos_for(&((MAX_TOKENS - 2) * UNIT).into());
        let longest = u64::try_from(longest).unwrap_or(u64::MAX);
        for nanos in [nanos.min(longest), longest, longest / 3] {
            let most = limit.exact.burst_units() + (MAX_TOKENS - 1) * UNIT;
            let expected = limit.exact.gained(nanos).min(most);
            prop_assert_eq!(gained(&limit, nanos), i64::try_from(expected).expect("small"));
        }
    }
}

proptest! {
    #![proptest_config(config(60_000))]

    #[test]
    fn precise_rates_are_rounded_down_by_less_than_a_millionth(limit in limits()) {
        let (tokens, nanos) = oracle::parse_rate(limit.rate.as_bytes()).expect("a rate");
        let whole = |n: u64| BigRational::from_integer(n.into());
        let written = tokens * whole(UNIT) / whole(nanos);
        let kept = limit.exact.rate();
        let lost = (&written - kept) * whole(1_000_000);
        prop_assert!(*kept <= written && lost < written, "{limit:?}");
    }
}

/// More than 64 bits of tokens, in an equally long period.
#[test]
fn many_tokens_in_a_long_period_are_exact() {
    for rate in [
        "1e20/36500d",
        "1234567890123456789e3/30000d",
        "3.1536e21/36500d",
    ] {
        let limit = Pair::parse(rate, 1);
        for nanos in [1, 999, 9_876_543] {
            let expected = limit.exact.gained(nanos);
            assert_eq!(
                gained(&limit, nanos),
                i64::try_from(expected).expect("small")
            );
        }
    }
}

#[test]
fn rate_and_burst_bounds() {
    let accepted = [
        ("10", "1"),
        ("0.5", "1"),
        ("100/m", "20"),
        ("1/15m", "1"),
        ("5000/h", "43830000"),
        ("250000000", "1"),
        ("1000000000000", "100000000000"),
        ("1000000000/ms", "1"),
        ("60000000000000/m", "1"),
        ("0.000001", "1"),
        ("1/36525d", "1"),
        ("2/36525d", "2"),
        ("1/876600h", "1"),
        ("007/07m", "0007"),
        ("1.50", "1"),
        ("1.00000000000000000000000000000000", "1"),
        ("2000000000000000000.0/600h", "1"),
        ("0.16666666666666666/m", "1"),
        ("33.333333333333336/d", "1"),
        ("0.000011574074074074073", "1"),
        ("0.000000000316888", "1"),
        ("9999999999.999999999", "100000000000"),
        ("1.000000000000000001/36524d", "1"),
        ("1e9", "1"),
        ("1e20/36500d", "1"),
        ("3.1536e21/36500d", "1"),
        ("1.25E+9", "1"),
        ("1.1574074074074075e-4", "1"),
        ("1e-05", "1"),
        ("1000e-12", "0"),
        ("0.000000000000000001e30", "1"),
        ("100000000000000000e-26", "1"),
        ("1/5min", "1"),
        ("1/1e3ms", "1"),
        ("1/2.5e1Hours", "1"),
        ("3/WEEK", "1"),
        ("1", "0"),
        ("1", "1.0"),
        ("1", "1e+8"),
    ];
    for (rate, burst) in accepted {
        let (rate, burst) = (rate.as_bytes(), burst.as_bytes());
        assert!(
            oracle::Limit::parse(rate, burst).is_ok(),
            "{rate:?} {burst:?}"
        );
        assert!(bucket::limit(rate, burst).is_ok(), "{rate:?} {burst:?}");
    }
    let refused = [
        ("1000000000001", "1"),
        ("1000000000.001/ms", "1"),
        ("1/36525d", "2"),
        ("1/36526d", "1"),
        ("1/3155760001s", "1"),
        ("0", "1"),
        ("0.0", "1"),
        ("0/d", "1"),
        ("1/0s", "1"),
        ("1e13", "1"),
        ("3.1537e21/36500d", "1"),
        ("1e25/36500d", "1"),
        ("0e-30", "1"),
        ("1000e-30/h", "1"),
        ("1e31", "1"),
        ("1e-31", "1"),
        ("1e-30", "1"),
        ("1e", "1"),
        ("1e+", "1"),
        ("1e1.5", "1"),
        ("1e0x1", "1"),
        ("1/1m2h", "1"),
        ("1/1h1h", "1"),
        ("1/1h1hour", "1"),
        ("1/1.5h30m", "1"),
        ("1/1h 30m", "1"),
        ("1/1h30", "1"),
        ("1/hm", "1"),
        ("1/0.0005s", "1"),
        ("1/0h0s", "1"),
        ("1/5fortnights", "1"),
        ("1/M", "1"),
        ("1/Ms", "1"),
        ("1/ss", "1"),
        ("1/ms2", "1"),
        ("1/month", "1"),
        ("1", "1.5"),
        ("1", "1e12"),
        ("1", "1e-1"),
        ("nan", "1"),
        ("inf", "1"),
        ("-1", "1"),
        ("+1", "1"),
        (" 1", "1"),
        ("1 ", "1"),
        ("1/", "1"),
        ("1/5", "1"),
        ("1/5M", "1"),
        ("1/5us", "1"),
        ("1//s", "1"),
        ("1/s/s", "1"),
        ("1/-1s", "1"),
        (".5", "1"),
        ("5.", "1"),
        (".", "1"),
        ("1.2.3", "1"),
        ("1,5", "1"),
        ("0x10", "1"),
        ("1_000", "1"),
        ("", "1"),
        ("/s", "1"),
        ("1111111111111111111111111111111111111111", "1"),
        ("1\0", "1"),
        ("1\u{661}", "1"),
        ("1", ""),
        ("1", "-1"),
        ("1", "100000000001"),
        ("1", "18446744073709551617"),
        ("1", "1111111111111111111111111111111111111111"),
    ];
    for (rate, burst) in refused {
        let real = bucket::limit(rate.as_bytes(), burst.as_bytes());
        assert!(real.is_err(), "{rate:?} {burst:?}");
        assert!(oracle::Limit::parse(rate.as_bytes(), burst.as_bytes()).is_err());
    }
}

#[test]
fn limit_returns_its_burst_and_fill_time() {
    use std::time::Duration;
    for (rate, burst, fill) in [
        ("10", 5, Duration::from_millis(500)),
        ("1/h", 3, Duration::from_secs(3 * 3_600)),
        ("1000000", 1, Duration::from_micros(1)),
    ] {
        let text = burst.to_string();
        let limit = redis_rl_limits::grammar::bucket::limit(rate.as_bytes(), text.as_bytes());
        let limit = limit.expect("a limit");
        assert_eq!((limit.burst(), limit.fill_time()), (burst, fill), "{rate}");
    }
}

#[test]
fn refund_does_not_change_a_full_stored_bucket() {
    use redis_rl_limits::kinds::bucket::Bucket;
    use redis_rl_limits::kinds::decision::{Change, Limit as _, State as _};
    let limit = bucket::limit(b"1/d", b"2").expect("a limit");
    let now = crate::cases::TODAY;
    let full = crate::oracle::State {
        updated_at: now,
        tokens: 2 << 24,
    };
    let full = Bucket::from_bytes(&full.bytes()).expect("a bucket");
    let decision = limit.stand(Some(full), now).give(1);
    assert!(matches!(decision.change, Change::Keep));
    assert_eq!(decision.reply.taken, 0);
}
