//! Sliding windows, held to a list of all that was taken and when: to the nanosecond, and with no
//! idea of sub-windows.

use proptest::prelude::*;

use crate::calls::{steps_back, takes, ticks, Aim, Amount, Tick};
use crate::cases::{config, lengths, TODAY};
use crate::named::Pair;
use crate::oracle::{Call, Mode, Named, MAX_LENGTH, MILLI};
use crate::world::World;

/// The takes with their times, in nanoseconds of a clock that only moves forward.
#[derive(Clone, Debug, Default)]
struct Log(Vec<(u64, u64)>);

impl Log {
    fn take(&mut self, at: u64, tokens: u64) {
        if tokens > 0 {
            self.0.push((at, tokens));
        }
    }

    /// Returns the takes from `since` on, inclusive.
    fn since(&self, since: u64) -> u64 {
        let later = self.0.iter().filter(|(at, _)| *at >= since);
        later.map(|(_, tokens)| tokens).sum()
    }

    /// Returns the takes in a millisecond.
    fn taken_at(&self, ms: u64) -> u64 {
        let then = self.0.iter().filter(|(at, _)| at / MILLI == ms);
        then.map(|(_, tokens)| tokens).sum()
    }

    /// Takes back what was taken in a millisecond.
    fn give_of(&mut self, ms: u64, mut tokens: u64) {
        for (_, taken) in self.0.iter_mut().filter(|(at, _)| at / MILLI == ms) {
            let given = tokens.min(*taken);
            *taken -= given;
            tokens -= given;
        }
    }

    /// Takes back from the oldest on of those that are not older than `since`.
    fn give(&mut self, since: u64, mut tokens: u64) {
        for (_, taken) in self.0.iter_mut().filter(|(at, _)| *at >= since) {
            let given = tokens.min(*taken);
            *taken -= given;
            tokens -= given;
        }
    }
}

/// An event of a history, other than a take.
#[derive(Clone, Copy, Debug)]
enum Event {
    Aim(Aim),
    Force(u64),
    /// Refunds part of an earlier take, with its AT.
    GiveOf(usize, u64),
    /// Refunds without AT.
    Give(u64),
}

fn events() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => takes().prop_map(Event::Aim),
        1 => (1..=10_u64).prop_map(Event::Force),
        2 => (0..=6_usize, 1..=10_u64).prop_map(|(ago, n)| Event::GiveOf(ago, n)),
        1 => (1..=10_u64).prop_map(Event::Give),
    ]
}

/// Limits the nanoseconds, so that no history leaves the clock's range.
fn short(nanos: u64) -> u64 {
    nanos.min(MAX_LENGTH * MILLI / 40)
}

fn sliding(length: u64, limit: u64) -> Pair {
    Pair::new(limit, Named::Sliding(length))
}

proptest! {
    #![proptest_config(config(5_000))]

    /// W4: no interval of the window's length exceeds the limit, and everything that an exact log
    /// would have freed one sixteenth ago, rounded up, is free. W6: no refund makes that worse.
    #[test]
    fn sliding_window_never_over_admits_and_frees_within_a_sixteenth(
        length in lengths(),
        limit in 0..=30_u64,
        events in prop::collection::vec((ticks(), events()), 1..80),
    ) {
        let pair = sliding(length, limit);
        let mut world = World::new(TODAY);
        let (mut log, mut last, mut exact) = (Log::default(), [0, 0, 3, 0, 0], true);
        // Refunds that may have come from the sub-window after that of their time, because a refund
        // without a time had emptied theirs.
        let mut later = 0;
        for (tick, event) in events {
            world.now += short(tick.nanos(length, last));
            let interval = world.now.saturating_sub(length * MILLI);
            match event {
                Event::Aim(aim) => {
                    let call = aim.call(world.now, last);
                    last = world.reply(pair, call);
                    log.take(world.now, last[0].unsigned_abs());
                    let fits = log.since(interval) <= limit + later;
                    prop_assert!(last[0] == 0 || fits, "{log:?} at {}", world.now);
                }
                Event::Force(cost) => {
                    let forced = Aim::Take(Amount::Tokens(cost), 0, Mode::Force);
                    last = world.reply(pair, forced.call(world.now, last));
                    log.take(world.now, last[0].unsigned_abs());
                }
                Event::GiveOf(ago, tokens) => {
                    let Some(place) = log.0.len().checked_sub(ago + 1) else { continue };
                    let at = log.0[place].0 / MILLI;
                    let tokens = tokens.min(log.taken_at(at));
                    if tokens > 0 {
                        let given = world.give(pair, tokens, Some(at))[0].unsigned_abs();
                        log.give_of(at, given);
                        later += if exact { 0 } else { given };
                    }
                }
                Event::Give(tokens) => {
                    let given = world.give(pair, tokens, None)[0].unsigned_abs();
                    log.give(interval, given);
                    exact &= given == 0;
                }
            }
            let used = world.used(pair);
            prop_assert!(used + later >= log.since(interval), "too early: {used} of {log:?}");
            // In whole milliseconds, as the clock is read.
            let late = length + length.div_ceil(16);
            let gone = (world.now / MILLI).saturating_sub(late) + 1;
            let at_most = log.since(gone * MILLI);
            prop_assert!(!exact || used <= at_most, "too late: {used} of {log:?}");
        }
    }

    /// W4 with clock steps back, with time counted as it passed.
    #[test]
    fn sliding_window_never_over_admits_after_a_clock_step_back(
        length in lengths(),
        limit in 1..=20_u64,
        steps in prop::collection::vec((ticks(), steps_back(), takes()), 1..60),
    ) {
        let pair = sliding(length, limit);
        let mut world = World::new(TODAY);
        let (mut time, mut last, mut log) = (TODAY, [0, 0, 3, 0, 0], Log::default());
        for (tick, back, aim) in steps {
            let on = short(tick.nanos(length, last));
            time += on;
            world.now += on;
            if let Some(back) = back {
                world.now = world.now.saturating_sub(short(back.nanos(length, last)));
            }
            last = world.reply(pair, aim.call(world.now, last));
            log.take(time, last[0].unsigned_abs());
            let fits = log.since(time.saturating_sub(length * MILLI)) <= limit;
            prop_assert!(last[0] == 0 || fits, "{log:?}");
        }
    }

    /// After a successful take with another length, all usage counts as used then, and W4 holds
    /// from then on.
    #[test]
    fn another_length_counts_all_usage_as_used_now(
        lengths in prop::collection::vec(lengths(), 2..=3),
        limit in 1..=20_u64,
        steps in prop::collection::vec((ticks(), any::<usize>(), takes()), 1..60),
    ) {
        let mut world = World::new(TODAY);
        let (mut log, mut last, mut stored) = (Log::default(), [0, 0, 3, 0, 0], lengths[0]);
        for (tick, which, aim) in steps {
            // Mostly the same.
            let length = lengths[which % 8 % lengths.len()];
            world.now += short(tick.nanos(length, last));
            let pair = sliding(length, limit);
            let used = world.used(pair);
            prop_assert!(used >= log.since(world.now.saturating_sub(stored * MILLI)));
            last = world.reply(pair, aim.call(world.now, last));
            if last[0] > 0 && length != stored {
                log = Log(vec![(world.now, used)]);
                stored = length;
            }
            log.take(world.now, last[0].unsigned_abs());
            let live = log.since(world.now.saturating_sub(stored * MILLI));
            prop_assert!(last[0] == 0 || live <= limit, "{log:?}");
            prop_assert!(world.used(pair) >= live);
        }
    }

    /// W6: at most the usage of the sub-window of that time, and of the one after it, is refunded.
    #[test]
    fn refund_with_at_is_capped_at_the_usage_of_that_time(
        length in 16..=1_000_000_u64,
        takes in prop::collection::vec((0..=20_u64, 1..=9_u64), 1..20),
        of in any::<usize>(),
    ) {
        let pair = sliding(length, 1000);
        let mut world = World::new(TODAY);
        let mut log = Vec::new();
        for (parts, cost) in takes {
            world.now += Tick::Parts(parts, 0).nanos(length, [0; 5]);
            world.take(pair, cost);
            log.push((world.ms(), cost));
        }
        let at = log[of % log.len()].0;
        let given = world.give(pair, 1000, Some(at))[0].unsigned_abs();
        let near = log.iter().filter(|(taken, _)| taken.abs_diff(at) <= 2 * length.div_ceil(16));
        prop_assert!(given <= near.map(|(_, cost)| cost).sum());
        let exact = log.iter().filter(|(taken, _)| *taken == at);
        let exact = exact.map(|(_, cost)| cost).sum::<u64>();
        prop_assert!(world.ms() - at >= length || given >= exact);
        prop_assert_eq!(world.give(pair, 1000, Some(at))[0], 0);
    }

    /// W7: it is the first end of a sub-window that frees enough.
    #[test]
    fn sliding_wait_ends_with_a_sub_window(
        length in lengths(),
        takes in prop::collection::vec((ticks(), 1..=5_u64), 1..20),
        cost in 1..=10_u64,
    ) {
        let pair = sliding(length, 10);
        let (mut world, mut last) = (World::new(TODAY), [0; 5]);
        for (tick, cost) in takes {
            world.now += short(tick.nanos(length, last));
            last = world.take(pair, cost);
        }
        let ask = crate::world::whole(cost);
        let wait = world.reply(pair, Call::Take(ask))[3];
        if wait > 0 {
            let end = u128::from(world.ms() + wait.unsigned_abs());
            let (part, before) = (end * 16 / u128::from(length), (end - 1) * 16 / u128::from(length));
            prop_assert_ne!(part, before);
        }
    }
}

/// Each waits as told, and then succeeds: the other one's denials postpone nothing.
#[test]
fn callers_of_two_lengths_do_not_starve_each_other() {
    let pairs = [sliding(200, 1), sliding(300, 1)];
    let (mut world, mut taken, mut at) = (World::new(TODAY), [0; 2], [TODAY / MILLI; 2]);
    for _ in 0..1_000 {
        // If two come at once, the one that has less goes first.
        let who = usize::from((at[1], taken[1]) < (at[0], taken[0]));
        world.now = at[who] * MILLI;
        let reply = world.take(pairs[who], 1);
        taken[who] += reply[0];
        at[who] += reply[3].max(1).unsigned_abs();
    }
    assert!(taken.iter().all(|taken| *taken > 100), "{taken:?}");
}

#[test]
fn denied_short_window_frees_nothing_of_a_long_one() {
    let (long, short) = (sliding(60_000, 10), sliding(1_000, 5));
    let mut world = World::new(TODAY);
    assert_eq!(world.take(long, 10)[0], 10);
    assert_eq!(world.take(short, 1)[..3], [0, 5, 0]);
    for second in 2..60 {
        world.now = TODAY + second * 1_000 * MILLI;
        assert_eq!(world.take(long, 1)[..3], [0, 10, 0]);
        assert_eq!(world.take(short, 1)[..3], [0, 5, 0]);
    }
}
