//! Every decision is the oracle's, bit for bit: whatever the key holds, whatever the call names,
//! whenever it is made. What may not be accepted is neither.

use proptest::prelude::*;
use redis_rl_limits::kinds::decision::State;
use redis_rl_limits::kinds::sliding::Sliding;
use redis_rl_limits::kinds::stored;
use redis_rl_limits::kinds::window::Window;

use crate::calls::aims;
use crate::cases::{any_named, config, instants, limits, strings};
use crate::named::Pair;
use crate::oracle::{Ask, Call, Named, Stored};
use crate::world::World;

/// Generates a time, the key's content then, and a window of a call.
fn moments() -> impl Strategy<Value = (u64, Option<Vec<u8>>, Named)> {
    instants().prop_flat_map(|now| {
        let key = prop_oneof![1 => Just(None), 9 => strings(now).prop_map(Some)];
        (Just(now), key, any_named(now))
    })
}

proptest! {
    #![proptest_config(config(50_000))]

    #[test]
    fn any_call_on_any_string_matches_the_oracle(
        (now, key, named) in moments(),
        limit in limits(),
        last in (0..=30_i64).prop_map(|left| [0, 0, left, 0, 0]),
        aims in prop::collection::vec((aims(), 0..6_u8), 1..=3),
    ) {
        let mut world = World::new(now);
        world.expires = false;
        world.stored = key.map(|bytes| (bytes, i64::MAX));
        let pair = Pair::new(limit, named);
        // The call is held to the oracle where it is made.
        for (aim, free) in aims {
            let call = match (free, aim.call(now, last)) {
                (0, Call::Take(ask)) => Call::Take(Ask { cost: 0, ..ask }),
                (0, Call::Look(ask)) => Call::Look(Ask { cost: 0, ..ask }),
                (0, Call::Give(_, at)) => Call::Give(0, at),
                (_, call) => call,
            };
            let _ = world.call(pair, call);
        }
    }

    #[test]
    fn strings_are_parsed_as_by_the_oracle(bytes in strings(0)) {
        let held = Stored::read(&bytes);
        let fixed = Window::from_bytes(&bytes);
        let sliding = Sliding::from_bytes(&bytes);
        prop_assert_eq!(fixed.is_some(), matches!(held, Some(Stored::Fixed { .. })));
        prop_assert_eq!(sliding.is_some(), matches!(held, Some(Stored::Sliding { .. })));
        if let Some(window) = fixed {
            prop_assert_eq!(window.to_bytes().to_vec(), bytes.clone());
            prop_assert_eq!(stored::name(&bytes), "a fixed window");
        }
        if let Some(window) = sliding {
            prop_assert_eq!(window.to_bytes().to_vec(), bytes.clone());
            prop_assert_eq!(stored::name(&bytes), "a sliding window");
        }
    }
}

proptest! {
    #![proptest_config(config(2_000))]

    #[test]
    fn no_text_is_a_window(text in "\\PC{0,60}") {
        for size in [25, 153] {
            let bytes: Vec<u8> = text.bytes().chain(std::iter::repeat(b'x')).take(size).collect();
            prop_assert!(Window::from_bytes(&bytes).is_none());
            prop_assert!(Sliding::from_bytes(&bytes).is_none());
        }
    }
}

#[test]
fn stored_strings_are_named_by_their_kind() {
    let bucket = [0; 16];
    assert_eq!(stored::name(&bucket), "a rate-limit bucket");
    for other in [&b""[..], b"12", b"a text of 25 characters..", &[b'x'; 16]] {
        assert_eq!(stored::name(other), "another string");
    }
}
