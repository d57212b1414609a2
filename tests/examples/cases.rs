//! The cases that every user of a package must pass, whatever its framework.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use redis_rl_client::{Address, Caller};

use crate::common::{until, wait_until};
use crate::example::{Answer, Example, LIMIT};

/// Returns the most that may pass in this time. 2 % are for the clocks.
fn limit(time: Duration) -> f64 {
    (20.0 + 100.0 / 60.0 * time.as_secs_f64()) * 1.02
}

/// Tries all cases, one after the other. Those without Redis come last.
pub fn hold(example: &mut Example) {
    allowed_request_has_the_fields_of_the_limit(example);
    denied_request_has_its_wait(example);
    callers_have_buckets_of_their_own(example);
    caller_who_waits_as_told_is_let_in(example);
    flood_passes_no_more_than_the_limit(example);
    without_redis_the_bucket_in_the_process_decides(example);
    once_redis_is_back_it_decides_again(example);
}

fn allowed_request_has_the_fields_of_the_limit(example: &Example) {
    take(example, "allowed", 15);
    // A busy machine may be answered by the bucket in the process at first, which is full.
    let answer = until("Redis decides", || {
        let answer = example.ask("allowed");
        (answer.left_and_seconds().0 < 10).then_some(answer)
    });
    answer.assert_allowed();
}

fn denied_request_has_its_wait(example: &Example) {
    let mut statuses = Vec::new();
    let answer = until("a denial", || {
        let answer = example.ask("denied");
        statuses.push(answer.status());
        Some(answer).filter(|answer| answer.status() != 200)
    });
    assert_eq!(answer.status(), 429);
    assert!(statuses.len() > 20, "{statuses:?}");
    answer.assert_denied();
    ask_until(example, "denied", 200);
}

fn callers_have_buckets_of_their_own(example: &Example) {
    take(example, "mine", 120);
    ask_until(example, "mine", 429);
    assert_eq!(example.ask("yours").status(), 200);
    assert_eq!(example.ask("").status(), 200);
    take(example, "", 120);
    ask_until(example, "", 429);
    assert_eq!(example.ask("yours").status(), 200);
    // Two lines, or a comma, are no name: the address is charged, and nobody has a new bucket.
    // (A busy machine may be answered by the bucket in the process at first, which is full.)
    let buckets: u32 = example.call("DBSIZE");
    ask_until(example, "a,b", 429);
    assert!(example.call::<u32>("DBSIZE") <= buckets);
    // Braces would choose a cluster's slot, if the header were not hashed.
    take(example, "{x}", 120);
    ask_until(example, "{x}", 429);
}

fn caller_who_waits_as_told_is_let_in(example: &Example) {
    // 4 in debt: the fifth token from now is 3 s away.
    take(example, "patient", 24);
    let seconds = ask_until(example, "patient", 429).retry_after();
    let seconds = seconds.expect("a Retry-After");
    assert!((1..=3).contains(&seconds), "{seconds}");
    std::thread::sleep(Duration::from_secs(seconds));
    assert_eq!(example.ask("patient").status(), 200);
}

/// 200 connections for two seconds, on one key. Where the log reports no time-out, nothing but the limit
/// passes; where it does, the machine was so busy that the bucket in the process decided too.
fn flood_passes_no_more_than_the_limit(example: &Example) {
    let before = outages(example);
    let (passed, took) = flood(example, "flood");
    let decided_twice = outages(example) > before;
    let most = limit(took) * if decided_twice { 2.0 } else { 1.0 };
    assert!(
        (20.0..=most).contains(&passed),
        "{passed} of {most} in {took:?}, {decided_twice}"
    );
}

fn without_redis_the_bucket_in_the_process_decides(example: &mut Example) {
    ask_until(example, "gone", 429);
    // Redis hangs: its connections stay open.
    example.redis.signal("STOP");
    requests_are_decided_and_the_log_says_so(example);
    let (passed, took) = flood(example, "hangs");
    example.redis.signal("CONT");
    assert!(
        (20.0..=limit(took)).contains(&passed),
        "{passed} in {took:?}"
    );
    ask_until(example, "again", 429);
    example.redis.kill();
    requests_are_decided_and_the_log_says_so(example);
    let (passed, took) = flood(example, "dead");
    assert!(
        (20.0..=limit(took)).contains(&passed),
        "{passed} in {took:?}"
    );
}

fn requests_are_decided_and_the_log_says_so(example: &Example) {
    let before = outages(example);
    wait_until("the log reports that Redis is gone", || {
        let start = Instant::now();
        let answer = example.ask("other");
        let took = start.elapsed();
        assert!([200, 429].contains(&answer.status()), "{answer:?}");
        // Far more than 50 ms for a busy machine, and less than any client waits by itself.
        took < Duration::from_secs(2) && outages(example) > before
    });
}

fn once_redis_is_back_it_decides_again(example: &mut Example) {
    example.redis.restart();
    take(example, "back", 120);
    // The bucket in the process would let it in.
    ask_until(example, "back", 429);
    assert_eq!(example.ask("fresh").status(), 200);
}

/// Returns how many of the requests of 200 connections pass in two seconds, or of five requests each, and
/// how long they took.
fn flood(example: &Example, key: &str) -> (f64, Duration) {
    let passed = AtomicU64::new(0);
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..200 {
            scope.spawn(|| {
                let (mut connection, mut asked) = (None, 0);
                while asked < 5 || start.elapsed() < Duration::from_secs(2) {
                    asked += 1;
                    let stream = connection.take().unwrap_or_else(|| example.connect());
                    let (status, stays_open) = request(&stream, key);
                    assert!([200, 429].contains(&status), "{status}");
                    passed.fetch_add(u64::from(status == 200), Ordering::Relaxed);
                    connection = stays_open.then_some(stream);
                }
            });
        }
    });
    (passed.load(Ordering::Relaxed) as f64, start.elapsed())
}

/// Sends one request and reads its answer. Returns the status, and whether the connection stays open.
fn request(mut stream: &TcpStream, key: &str) -> (u16, bool) {
    let request = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX-Api-Key: {key}\r\n\r\n");
    stream
        .write_all(request.as_bytes())
        .expect("a request is taken");
    let mut reader = BufReader::new(stream);
    let (mut status, mut length, mut stays_open) = (0, 0, true);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).expect("an answer in time");
        let line = line.trim_end().to_ascii_lowercase();
        if let Some(rest) = line.strip_prefix("http/1.") {
            status = rest[2..5].parse().expect("a status");
            stays_open = rest.starts_with('1');
        } else if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.parse().expect("a length");
        } else if line == "connection: close" {
            stays_open = false;
        } else if line.is_empty() {
            let mut body = vec![0; length];
            reader.read_exact(&mut body).expect("a body");
            return (status, stays_open);
        }
    }
}

fn ask_until(example: &Example, key: &str, status: u16) -> Answer {
    until(&format!("the status is {status}"), || {
        Some(example.ask(key)).filter(|answer| answer.status() == status)
    })
}

fn outages(example: &Example) -> usize {
    example.log().matches("rate limiter: no answer").count()
}

/// Takes tokens from a caller's bucket, into debt if need be.
fn take(example: &Example, caller: &str, tokens: u32) {
    let header: &[&[u8]] = if caller.is_empty() {
        &[]
    } else {
        &[caller.as_bytes()]
    };
    let address = Address::Ip([127, 0, 0, 1].into());
    let key = Caller::default()
        .header("X-Api-Key")
        .key(address, &[], header);
    let words = format!("RL.TAKE {key} {LIMIT} COST {tokens} FORCE");
    let [taken, ..]: [u32; 5] = example.call(&words);
    assert_eq!(taken, tokens);
}
