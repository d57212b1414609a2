//! Buckets by a script, compared with the module's.

use redis_rl_client::{Decision, Fallback};

use super::*;

const LUA: Settings = Settings {
    fallback: Some(Fallback::Lua),
    ..PATIENT
};

#[derive(Clone, Copy, Debug)]
enum Request {
    Take(Options),
    Peek(u64),
    Give(u64),
}
use Request::{Give, Peek, Take};

const fn cost(cost: u64) -> Options {
    Options {
        cost,
        keep: 0,
        at_most: false,
        max_wait: None,
        force: false,
    }
}

const fn max_wait(cost_: u64, seconds: u64) -> Request {
    Take(Options {
        max_wait: Some(Duration::from_secs(seconds)),
        ..cost(cost_)
    })
}

async fn send(limits: &Connected, key: &str, limit: (&Rate, u64), request: Request) -> Decision {
    let (rate, burst) = limit;
    let decision = match request {
        Take(options) => limits.take(key, rate, burst, options).await,
        Peek(cost) => limits.peek(key, rate, burst, cost).await,
        Give(cost) => limits
            .give(key, rate, burst, cost)
            .await
            .map(|taken| Decision {
                taken,
                allowed: true,
                limit: burst,
                remaining: 0,
                retry_after: None,
                reset_after: Duration::ZERO,
                source: Source::Server,
            }),
    };
    decision.expect("a decision")
}

/// Buckets of hours, because the clock goes on between the two calls.
#[tokio::test]
async fn script_replies_as_the_module_does() {
    let (server, bare) = (Server::start(), Launch::default().without_module().start());
    let ours = limiter(server.port(), PATIENT).await;
    let scripts = limiter(bare.port(), LUA).await;
    let (hour, day) = (&rate("1/h"), &rate("1/d"));
    let keep = |cost_, keep| Options {
        keep,
        ..cost(cost_)
    };
    let at_most = Options {
        at_most: true,
        ..keep(9, 1)
    };
    let force = Options {
        force: true,
        ..cost(4)
    };
    for (rate, request) in [
        (hour, Take(cost(3))),
        (hour, Peek(8)),
        (hour, Take(keep(3, 5))),
        (hour, Take(at_most)),
        (day, Take(cost(1))),
        (hour, max_wait(2, 3600)),
        (hour, max_wait(2, 7200)),
        (hour, Take(force)),
        (hour, Take(cost(0))),
        (hour, Take(cost(11))),
        (hour, Give(2)),
        (hour, Peek(1)),
        (hour, Give(99)),
        (hour, Peek(10)),
    ] {
        let one = send(&ours, "k", (rate, 10), request).await;
        let other = send(&scripts, "k", (rate, 10), request).await;
        let exact = |of: &Decision| (of.allowed, of.taken, of.limit, of.remaining, of.source);
        assert_eq!(exact(&one), exact(&other), "{request:?}");
        let is_near = |a: Duration, b: Duration| a.abs_diff(b) < Duration::from_secs(60);
        assert!(is_near(one.reset_after, other.reset_after), "{request:?}");
        let waits = one.retry_after.zip(other.retry_after);
        let is_never = one.retry_after.is_none() && other.retry_after.is_none();
        assert!(
            is_never || waits.is_some_and(|(a, b)| is_near(a, b)),
            "{request:?}"
        );
    }
    // A new bucket does not depend on the clock.
    for (text, cost_) in [
        ("100/m", 3),
        ("0.3/h", 999),
        ("1e6", 10),
        ("3/7ms", 1001),
        ("7", 1500),
    ] {
        let key = &format!("new:{text}");
        let one = send(&ours, key, (&rate(text), 1000), Take(cost(cost_))).await;
        assert_eq!(
            one,
            send(&scripts, key, (&rate(text), 1000), Take(cost(cost_))).await
        );
    }
}

#[tokio::test]
async fn server_without_the_module_is_limited_by_the_script() {
    static LOG: Mutex<Vec<String>> = Mutex::new(Vec::new());
    let log = |line: &str| LOG.lock().expect("no panic").push(line.to_owned());
    let bare = Launch::default().without_module().start();
    let limits = limiter(bare.port(), Settings { log, ..LUA }).await;
    limits.check("limit:check").await.expect("a script");
    let hour = rate("1/h");
    let take = async || {
        let taken = limits.take("k", &hour, 2, Options::default()).await;
        taken.expect("a decision")
    };
    let got = [take().await, take().await, take().await];
    assert_eq!(got.map(|one| one.allowed), [true, true, false]);
    until("the denial is remembered", || async {
        take().await.source == Source::Memory
    })
    .await;
    assert_eq!(limits.give("k", &hour, 2, 1).await.expect("a number"), 1);
    let _: () = ask(&bare, "SCRIPT FLUSH");
    let left = limits.peek("k", &hour, 2, 1).await.expect("a decision");
    assert_eq!(left.remaining, 1);
    let keys: Vec<String> = ask(&bare, "KEYS k*");
    assert_eq!(keys, ["k:lua"]);

    let mistake = |result: Result<Decision, Error>| match result {
        Err(Error::Mistake(error)) => error.to_string(),
        other => panic!("{other:?}"),
    };
    let window = limits.take_window("k", 5, "1m", Options::default()).await;
    assert!(mistake(window).contains("unknown command"));
    let _: i64 = ask(&bare, "RPUSH list:lua x");
    let list = limits.take("list", &hour, 1, Options::default()).await;
    assert!(mistake(list).contains("WRONGTYPE"));
    let large = limits.take("k", &hour, 1, Options::cost(u64::MAX)).await;
    assert!(mistake(large).contains("integer"));
    assert_eq!((limits.counts().mistakes, limits.counts().outages), (3, 0));
    let log = LOG.lock().expect("no panic");
    let warnings = log.iter().filter(|line| line.contains("scripts"));
    assert_eq!(warnings.count(), 1);
}

#[tokio::test]
async fn module_is_preferred_to_the_script() {
    let server = Server::start();
    let limits = limiter(server.port(), LUA).await;
    let taken = limits.take("k", &rate("1/h"), 2, Options::default()).await;
    assert!(taken.expect("a decision").allowed);
    let keys: Vec<String> = ask(&server, "KEYS *");
    assert_eq!(keys, ["k"]);
}

#[test]
fn script_is_that_of_the_other_packages() {
    let text = |package: &str| {
        let path = format!("scripts/clients/{package}/bucket.lua");
        std::fs::read_to_string(common::root().join(path)).expect("a script")
    };
    assert_eq!(text("rust/src"), text("python/redis_rl"));
    assert_eq!(text("rust/src"), text("node/src"));
}
