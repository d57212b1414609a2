//! What every example must do.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::common::{until, wait_until, Server};
use crate::example::{Answer, Example};

/// As the examples have it.
const BURST: u64 = 20;
const FILLS_IN_SECONDS: u64 = 12;

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
    let answer = example.ask_redis("allowed");
    assert_eq!((answer.status(), answer.body()), (200, "Hello\n"));
    let policy = format!("\"default\";q={BURST};w={FILLS_IN_SECONDS}");
    assert_eq!(answer.field("RateLimit-Policy"), Some(&*policy));
    let (left, seconds) = answer.left_and_seconds();
    // Fewer than 19 where the machine was too busy at the first try.
    assert!(
        left < BURST && (1..=FILLS_IN_SECONDS).contains(&seconds),
        "{answer:?}"
    );
    assert_eq!(answer.retry_after(), None);
    let (lower, _) = example.ask_redis("allowed").left_and_seconds();
    assert!(
        lower < left || lower < BURST - 1,
        "{lower} left after {left}"
    );
}

fn a_denied_caller_is_told_when_to_come_back(example: &Example) {
    let mut statuses = Vec::new();
    let answer = until("a denial", || {
        let answer = example.ask_redis("denied");
        statuses.push(answer.status());
        Some(answer).filter(|answer| answer.status() != 200)
    });
    assert_eq!(answer.status(), 429);
    // What refills meanwhile is let in too.
    assert!(statuses.len() as u64 > BURST / 2, "{statuses:?}");
    assert_eq!(answer.body(), "Too many requests\n");
    // A token comes every 0.6 s, and seconds are rounded up.
    assert_eq!(answer.left_and_seconds(), (0, 1));
    assert_eq!(answer.retry_after(), Some(1));
    assert!(answer.field("RateLimit-Policy").is_some());
}

fn a_denied_caller_is_let_in_again_later(example: &Example) {
    example.ask_until("recovers", 429);
    example.ask_until("recovers", 200);
}

fn callers_with_other_keys_have_buckets_of_their_own(example: &Example) {
    example.ask_until("mine", 429);
    // A key too long to be kept, or with a brace, which chooses a cluster's slot, does not count.
    let too_long = "x".repeat(65);
    for other in ["yours", "", &too_long, "{mine}"] {
        assert_eq!(example.ask_redis(other).status(), 200, "{other:?}");
    }
    let mut keys: Vec<String> = call(&example.redis, "KEYS limit:*");
    keys.retain(|key| {
        !["allowed", "denied", "recovers"]
            .iter()
            .any(|k| key.ends_with(k))
    });
    keys.sort();
    assert_eq!(
        keys,
        ["limit:ip:127.0.0.1", "limit:key:mine", "limit:key:yours"]
    );
}

fn a_caller_who_waits_as_told_is_let_in(example: &Example) {
    // Void where the machine was too busy, since a take whose answer is late is not undone.
    let status = until("Redis answers in time", || {
        // Four tokens of debt, so that the wait is not the shortest there is: 5 * 0.6 s.
        let () = call(&example.redis, "DEL limit:key:patient");
        let () = call(
            &example.redis,
            "RL.TAKE limit:key:patient 100/m 20 COST 24 FORCE",
        );
        let denied = Some(example.ask("patient")).filter(Answer::is_decided)?;
        assert_eq!((denied.status(), denied.retry_after()), (429, Some(3)));
        std::thread::sleep(Duration::from_secs(3));
        let answer = example.ask("patient");
        answer.is_decided().then(|| answer.status())
    });
    assert_eq!(status, 200);
}

fn without_redis_requests_go_through_and_the_log_tells(example: &mut Example) {
    let log = |example: &Example| example.log().matches("rate limiter failed open: ").count();
    let pid = pid(&example.redis);
    example.ask_until("gone", 429);
    let lines = log(example);
    // One that hangs: its connections stay open.
    signal(pid, "STOP");
    let start = Instant::now();
    let answer = example.ask("gone");
    let took = start.elapsed();
    signal(pid, "CONT");
    assert_eq!((answer.status(), answer.body()), (200, "Hello\n"));
    assert!(
        !answer.is_decided() && took < Duration::from_secs(2),
        "{took:?}: {answer:?}"
    );
    wait_until("the log tells that Redis hung", || log(example) > lines);

    example.ask_until("gone", 429);
    example.redis.kill();
    let lines = log(example);
    wait_until("the log tells that Redis is gone", || {
        let answer = example.ask("gone");
        assert_eq!((answer.status(), answer.body()), (200, "Hello\n"));
        assert!(!answer.is_decided(), "{answer:?}");
        log(example) > lines
    });
}

fn once_redis_is_back_callers_are_limited_again(example: &mut Example) {
    example.redis.restart();
    example.ask_until("back", 200);
    example.ask_until("back", 429);
}

fn call<T: redis::FromRedisValue>(server: &Server, words: &str) -> T {
    let mut command = redis::Cmd::new();
    command.arg(words.split(' ').collect::<Vec<_>>());
    command.query(&mut server.connection()).expect("a reply")
}

fn pid(server: &Server) -> u32 {
    let info: String = call(server, "INFO server");
    let mut lines = info.lines();
    let pid = lines.find_map(|line| line.strip_prefix("process_id:")?.parse().ok());
    pid.expect("a process id")
}

fn signal(pid: u32, name: &str) {
    let status = Command::new("kill")
        .args([format!("-{name}"), pid.to_string()])
        .status();
    assert!(status.expect("kill runs").success());
}
