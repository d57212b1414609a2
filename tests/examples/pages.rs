//! The cases of the pages to copy, which have no package: Go and Java.

use std::time::{Duration, Instant};

use crate::common::{until, wait_until};
use crate::example::{Answer, Example, LIMIT};

/// Tries all cases, one after the other. Those without Redis come last.
pub fn hold(example: &mut Example) {
    an_allowed_caller_is_told_what_is_left(example);
    a_denied_caller_is_told_when_to_come_back(example);
    a_denied_caller_is_let_in_again_later(example);
    callers_with_other_keys_have_buckets_of_their_own(example);
    a_caller_who_waits_as_told_is_let_in(example);
    without_redis_requests_go_through_and_the_log_tells(example);
    once_redis_is_back_callers_are_limited_again(example);
}

fn an_allowed_caller_is_told_what_is_left(example: &Example) {
    take(example, "key:allowed", 15);
    let answer = example.ask_redis("allowed");
    answer.assert_allowed();
}

fn a_denied_caller_is_told_when_to_come_back(example: &Example) {
    let mut statuses = Vec::new();
    let answer = until("a denial", || {
        let answer = example.ask_redis("denied");
        statuses.push(answer.status());
        Some(answer).filter(|answer| answer.status() != 200)
    });
    assert_eq!(answer.status(), 429);
    // Tokens that refill meanwhile are admitted too.
    assert!(statuses.len() > 10, "{statuses:?}");
    answer.assert_denied();
}

fn a_denied_caller_is_let_in_again_later(example: &Example) {
    example.ask_until("recovers", 429);
    example.ask_until("recovers", 200);
}

fn callers_with_other_keys_have_buckets_of_their_own(example: &Example) {
    let statuses = |keys: [&str; 3]| keys.map(|key| example.ask_redis(key).status());
    take(example, "key:mine", 120);
    assert_eq!(statuses(["mine", "yours", ""]), [429, 200, 200]);
    take(example, "ip:127.0.0.1", 120);
    assert_eq!(statuses(["mine", "yours", ""]), [429, 200, 429]);
    // Too long to be kept; and with braces, which would choose a cluster's slot.
    assert_eq!(
        statuses([&"x".repeat(65), "{x}", &"x".repeat(64)]),
        [429, 429, 200]
    );
}

fn a_caller_who_waits_as_told_is_let_in(example: &Example) {
    // Void where the machine was too busy, since a take whose answer is late is not undone.
    let status = until("Redis answers in time", || {
        let () = example.call("DEL limit:key:patient");
        // 4 in debt: the fifth token from now is 3 s away.
        take(example, "key:patient", 24);
        let denied = Some(example.ask("patient")).filter(Answer::is_decided)?;
        let seconds = denied.retry_after().expect("a Retry-After");
        assert!(
            denied.status() == 429 && (2..=3).contains(&seconds),
            "{denied:?}"
        );
        std::thread::sleep(Duration::from_secs(seconds));
        let answer = example.ask("patient");
        answer.is_decided().then(|| answer.status())
    });
    assert_eq!(status, 200);
}

fn without_redis_requests_go_through_and_the_log_tells(example: &mut Example) {
    example.ask_until("gone", 429);
    // Redis hangs: its connections stay open.
    example.redis.signal("STOP");
    requests_go_through_until_the_log_tells(example);
    example.redis.signal("CONT");
    example.ask_until("gone", 429);
    example.redis.kill();
    requests_go_through_until_the_log_tells(example);
}

fn requests_go_through_until_the_log_tells(example: &Example) {
    let lines = || example.log().matches("rate limiter failed open: ").count();
    let before = lines();
    wait_until("the log tells that Redis is gone", || {
        let start = Instant::now();
        let answer = example.ask("gone");
        let took = start.elapsed();
        assert_eq!((answer.status(), answer.body()), (200, "Hello\n"));
        assert!(!answer.is_decided(), "{answer:?}");
        // Far more than 50 ms for a busy machine, and less than any client waits by itself.
        assert!(took < Duration::from_secs(2), "{took:?}");
        lines() > before
    });
}

fn once_redis_is_back_callers_are_limited_again(example: &mut Example) {
    example.redis.restart();
    example.ask_until("back", 200);
    example.ask_until("back", 429);
}

/// Takes tokens from a caller's bucket, into debt if need be.
fn take(example: &Example, caller: &str, tokens: u32) {
    let words = format!("RL.TAKE limit:{caller} {LIMIT} COST {tokens} FORCE");
    let [taken, ..]: [u32; 5] = example.call(&words);
    assert_eq!(taken, tokens);
}
