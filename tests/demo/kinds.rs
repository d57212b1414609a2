//! Every kind of limit, alone and mixed, and the information about each for callers and operators.

use std::time::{Duration, Instant};

use crate::common::{wait_until, Server};
use crate::driver::{call, keys, refusal, Demo, Response};

/// Returns the part of a field about this limit.
fn part<'a>(response: &'a Response, field: &str, limit: &str) -> &'a str {
    let mut parts = response.header(field).expect("the field").split(", ");
    let start = format!("\"{limit}\";");
    let found = parts.find_map(|part| part.strip_prefix(&start));
    found.unwrap_or_else(|| panic!("{}", response.0))
}

/// Returns the value of `t`.
fn t(response: &Response, limit: &str) -> i64 {
    let (_, t) = part(response, "ratelimit", limit)
        .split_once(";t=")
        .expect("t");
    t.parse().expect("seconds")
}

fn retry_after(response: &Response) -> i64 {
    let wait = response.header("retry-after").expect("Retry-After");
    wait.parse().expect("seconds")
}

/// Returns how often the server executed a command.
fn calls(redis: &Server, command: &str) -> u64 {
    let about: String = call(redis, &["INFO", "commandstats"]);
    let about = about.to_lowercase();
    let line = format!("cmdstat_{command}:calls=");
    let Some((_, after)) = about.split_once(&line) else {
        return 0;
    };
    let (calls, _) = after.split_once(',').expect("a number");
    calls.parse().expect("a number")
}

#[test]
fn calendar_window_resets_at_midnight_of_its_offset() {
    let redis = Server::start();
    let name = &format!("2 {}", crate::dashboard::mid_day());
    let demo = Demo::connected(&redis, &["--window", name]);
    let (_, hours) = name.split_once("OFFSET ").expect("an offset");
    let hours = hours
        .strip_suffix(":00")
        .and_then(|hours| hours.parse().ok());
    let offset = jiff::tz::TimeZone::fixed(jiff::tz::offset(hours.expect("hours")));
    let now = jiff::Timestamp::now().to_zoned(offset);
    let midnight = now.tomorrow().and_then(|t| t.start_of_day()).expect("one");
    let left = midnight.timestamp().as_second() - now.timestamp().as_second();
    let about_midnight = |seconds| (left - 600..=left + 1).contains(&seconds);
    for remaining in [1, 0] {
        let allowed = demo.get();
        assert_eq!(allowed.status(), 200);
        assert_eq!(part(&allowed, "ratelimit-policy", name), "q=2;w=86400");
        let state = part(&allowed, "ratelimit", name);
        assert!(state.starts_with(&format!("r={remaining};")), "{state}");
        assert!(about_midnight(t(&allowed, name)), "{state}, not {left}");
    }
    let refused = demo.get();
    assert_eq!(refused.status(), 429);
    assert!(about_midnight(retry_after(&refused)), "{}", refused.0);
    assert_eq!(retry_after(&refused), t(&refused, name));
    assert_eq!(
        keys(&redis),
        [format!("{{rate:limiter:test-client}}:{name}")]
    );
}

#[test]
fn duration_window_resets_at_its_end_and_calendar_month_has_no_w() {
    let redis = Server::start();
    let demo = Demo::connected(&redis, &["--window", "1 1s"]);
    let start = Instant::now();
    assert_eq!(demo.get().status(), 200);
    demo.wait_for(429);
    demo.wait_for(200);
    assert!(start.elapsed() > Duration::from_millis(900));
    let demo = Demo::connected(&redis, &["--window", "7 month anchor 31"]);
    let allowed = demo.get();
    assert_eq!(
        part(&allowed, "ratelimit-policy", "7 month anchor 31"),
        "q=7"
    );
}

#[test]
fn sliding_window_admits_its_limit_in_any_interval() {
    let redis = Server::start();
    let demo = Demo::connected(&redis, &["--sliding", "2/2s"]);
    let (mut asked, mut passed) = (Vec::new(), Vec::new());
    wait_until("five have passed", || {
        let start = Instant::now();
        // The second comes late, so that a window which ended soon after would let two more pass.
        let late = Duration::from_millis(1700);
        if passed.len() == 1 && asked[0] + late > start {
            return false;
        }
        let answer = demo.get();
        if answer.status() == 200 {
            let policy = part(&answer, "ratelimit-policy", "2/2s");
            assert_eq!(policy, "q=2;w=2");
            asked.push(start);
            passed.push(Instant::now());
        } else {
            assert_eq!(answer.status(), 429);
            assert!((1..=3).contains(&retry_after(&answer)), "{}", answer.0);
        }
        passed.len() == 5
    });
    // Redis counts in whole milliseconds.
    for (first, third) in asked.iter().zip(&passed[2..]) {
        let between = third.duration_since(*first);
        assert!(between > Duration::from_millis(1998), "{between:?}");
    }
}

/// One of each kind; only the window is ever reached.
const MIXED: [&str; 8] = [
    "--limit",
    "1/d:20",
    "--window",
    "3 YEAR",
    "--sliding",
    "60/1d",
    "--concurrent",
    "8",
];

#[test]
fn limits_of_every_kind_are_charged_in_one_call_all_or_none() {
    let redis = Server::start();
    let demo = Demo::connected(&redis, &MIXED);
    // The first call checked the permission.
    let before = calls(&redis, "rl.all");
    for used in 1..=3 {
        // Without --cost-header, a caller cannot set the cost.
        let allowed = demo.get_with(b"X-Cost: 4\r\n");
        assert_eq!(allowed.status(), 200);
        for (limit, quota) in [("1/d:20", 20), ("3 YEAR", 3), ("60/1d", 60)] {
            let state = part(&allowed, "ratelimit", limit);
            let expected = format!("r={};", quota - used);
            assert!(state.starts_with(&expected), "{limit}: {state}");
        }
        wait_until("the slot is free", || {
            call::<u64>(&redis, &["EXISTS", "{rate:limiter:test-client}:8 at once"]) == 0
        });
    }
    let refused = demo.get();
    assert_eq!(refused.status(), 429);
    assert!(part(&refused, "ratelimit", "1/d:20").starts_with("r=17;"));
    assert!(part(&refused, "ratelimit", "60/1d").starts_with("r=57;"));
    assert_eq!(part(&refused, "ratelimit", "8 at once"), "r=8");
    assert_eq!(
        part(&refused, "ratelimit-policy", "8 at once"),
        "q=8;qu=\"concurrent-requests\""
    );
    assert_eq!(retry_after(&refused), t(&refused, "3 YEAR"));
    assert_eq!(calls(&redis, "rl.all") - before, 4);
    for other in ["rl.take", "rl.wtake", "rl.acquire", "rl.mtake"] {
        assert_eq!(calls(&redis, other), 0, "{other}");
    }
}

#[test]
fn denying_limit_is_in_the_log_and_the_metrics() {
    let redis = Server::start();
    let demo = Demo::connected(&redis, &MIXED);
    for _ in 0..5 {
        demo.get();
    }
    demo.wait_for_log("Rate limit exceeded: 3 YEAR\n");
    let metrics = demo.metrics();
    for (kind, limit, denied, quota) in [
        ("bucket", "1/d:20", 0, 20),
        ("window", "3 YEAR", 2, 3),
        ("sliding", "60/1d", 0, 60),
        ("lease", "8 at once", 0, 8),
    ] {
        let labels = format!("{{kind=\"{kind}\",limit=\"{limit}\"}}");
        for line in [
            format!("demo_limit_denied_total{labels} {denied}\n"),
            format!("demo_limit_quota{labels} {quota}\n"),
        ] {
            assert!(metrics.contains(&line), "{line}{metrics}");
        }
    }
    let told = [
        "rl_window_takes_allowed_total 6",
        "rl_window_takes_denied_total 2",
        "rl_lease_acquired_total 3",
    ];
    wait_until("what Redis counts is told", || {
        let metrics = demo.metrics();
        told.iter().all(|line| metrics.lines().any(|l| l == *line))
    });
    // Two limits that deny at once are both reported.
    let both = ["--limit", "1/d:1", "--window", "1 YEAR", "--limit", "1/d:9"];
    let demo = Demo::connected(&redis, &both);
    demo.get();
    assert_eq!(demo.get().status(), 429);
    demo.wait_for_log("Rate limit exceeded: 1/d:1, 1 YEAR\n");
}

#[test]
fn cost_header_sets_the_cost_and_invalid_values_are_refused() {
    let redis = Server::start();
    let flags = "--limit 1/d:10 --sliding 12/1d --concurrent 3 --cost 2 --cost-header X-Cost";
    let demo = Demo::connected(&redis, &flags.split(' ').collect::<Vec<_>>());
    let ask = |cost: &str| demo.get_with(format!("X-Cost: {cost}\r\n").as_bytes());
    for nonsense in [
        "0",
        "-1",
        "+1",
        "x",
        "1.5",
        "1e1",
        "11",
        "99999999999999999999",
        "1\r\nX-Cost: 1",
        "",
    ] {
        assert_eq!(ask(nonsense).status(), 400, "{nonsense}");
    }
    assert_eq!(keys(&redis), [""; 0]);
    let words = "The header x-cost must be a whole number from 1 to 10\n";
    assert_eq!(ask("11").body(), words);
    let left = |answer: &Response, limit| {
        let state = part(answer, "ratelimit", limit);
        let r = state.split(';').next().expect("r");
        (answer.status(), r.to_owned())
    };
    for (answer, status, bucket, window) in [
        (ask("4"), 200, "r=6", "r=8"),
        (demo.get(), 200, "r=4", "r=6"),
        (ask("5"), 429, "r=4", "r=6"),
        (ask("4"), 200, "r=0", "r=2"),
    ] {
        assert_eq!(left(&answer, "1/d:10"), (status, bucket.to_owned()));
        assert_eq!(left(&answer, "12/1d"), (status, window.to_owned()));
    }
}

#[test]
fn changing_the_kind_of_a_limit_uses_a_new_key() {
    let redis = Server::start();
    for flags in [
        ["--limit", "1/d:1"],
        ["--sliding", "1/1h"],
        ["--window", "1 1h"],
        ["--concurrent", "1"],
    ] {
        let demo = Demo::connected(&redis, &[&flags[..], &["--fail", "closed"]].concat());
        assert_eq!(demo.get().status(), 200, "{flags:?}");
    }
}

#[test]
fn limits_that_the_module_rejects_are_refused_at_startup() {
    for (flags, reason) in [
        (["--window", "1000"], "window must be a duration"),
        (["--window", "x DAY"], "limit must be a whole number"),
        (["--window", "5 fortnight"], "got 'fortnight'"),
        (["--window", "5 DAY OFFSET 2"], "OFFSET must be from"),
        (["--window", "5 DAY ANCHOR 2"], "ANCHOR goes with WEEK"),
        (["--window", "5 DAY COST 2"], "unknown option 'COST'"),
        (["--window", "5 SLIDING 1m"], "--sliding LIMIT/DURATION"),
        (["--window", "5 UNTIL 1"], "UNTIL is a single window"),
        (["--window", "0 DAY"], "from 1 to the smallest limit, 0"),
        (["--sliding", "60"], "expected LIMIT/DURATION"),
        (["--sliding", "60/m"], "window must be a duration"),
        (["--concurrent", "0"], "limit must be at least 1"),
        (["--concurrent", "100001"], "from 0 to 100000"),
        (["--concurrent", "8/1ms"], "ttl must be a duration"),
        (["--cost-header", "a b"], "--cost-header a b"),
    ] {
        let said = refusal(&flags);
        assert!(said.contains(reason), "{flags:?}: {said}");
    }
    let said = refusal(&["--concurrent", "8", "--concurrent", "8/5s"]);
    assert!(said.contains("8 at once is given twice"), "{said}");
}
