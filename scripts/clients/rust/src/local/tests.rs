//! The arithmetic of one batch, by a clock of the test's own.

use tokio::time::advance;

use super::*;

const MS: Duration = Duration::from_millis(1);

fn rate(text: &str) -> Rate {
    text.parse().expect("a rate")
}

fn batch() -> Batch {
    let stash = Stash::new("k", &rate("1"), 10_000);
    stash.batch.into_inner().expect("no panic")
}

/// Returns the server's decision that grants this many tokens.
fn granted(tokens: i64) -> Decision {
    crate::decision::decision([tokens, 10_000, 3, 0, 1000])
}

/// The bucket might have been full, and have gained nothing: a full refund would admit its gain twice.
#[tokio::test(start_paused = true)]
async fn batch_is_refunded_once_less_the_gain_meanwhile() {
    let mut batch = batch();
    batch.begin(granted(302), Instant::now());
    assert!(batch.spend(2).is_some());
    advance(HOLD).await;
    // 13.5 tokens in 0.15 s.
    assert_eq!(batch.refund(&rate("90")), 300 - 14);
    assert_eq!(batch.refund(&rate("90")), 0);
    batch.begin(granted(13), Instant::now() - HOLD);
    assert_eq!(batch.refund(&rate("90")), 0);
}

#[tokio::test(start_paused = true)]
async fn tokens_that_the_server_did_not_grant_are_not_refunded() {
    let mut batch = batch();
    for source in [Source::Local, Source::Policy] {
        let decision = Decision {
            source,
            ..granted(302)
        };
        batch.begin(decision, Instant::now());
        assert_eq!(batch.refund(&rate("1/h")), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn batch_is_at_most_an_eighth_of_the_burst() {
    let mut batch = batch();
    batch.count(3000);
    assert_eq!([10_000, 15, 7].map(|burst| batch.size(burst)), [1250, 1, 0]);
}

#[tokio::test(start_paused = true)]
async fn after_a_short_answer_there_is_no_batch_until_the_bucket_is_full() {
    let mut batch = batch();
    batch.count(3000);
    batch.is_short(granted(5));
    advance(999 * MS).await;
    assert_eq!(batch.size(10_000), 0);
    advance(MS).await;
    assert_eq!(batch.size(10_000), 1250);
}

#[tokio::test(start_paused = true)]
async fn batch_is_not_spent_late() {
    let mut batch = batch();
    batch.begin(granted(5), Instant::now());
    advance(HOLD - MS).await;
    let spent = batch.spend(2).expect("tokens");
    assert_eq!((spent.taken, spent.remaining), (2, 3 + 3));
    assert_eq!(spent.reset_after, 901 * MS);
    assert_eq!((batch.spend(0), batch.spend(4)), (None, None));
    advance(MS).await;
    assert_eq!(batch.spend(2), None);
}

#[tokio::test(start_paused = true)]
async fn use_is_that_of_the_last_tenth_of_a_second() {
    let mut batch = batch();
    for (pause, cost, size) in [(0, 400, 400), (100, 8, 408), (50, 2, 210), (200, 1, 1)] {
        advance(pause * MS).await;
        batch.count(cost);
        assert_eq!(batch.size(10_000), size);
    }
}
