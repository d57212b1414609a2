//! Readiness: whether the demo can limit, and its messages if it cannot.

use crate::common::{module, wait_until, Launch, Server};
use crate::driver::{call, counted, pid, send, signal, Demo};

/// Checks that every page reports that nothing is limited, and that the log contains advice.
fn is_known_to_be_useless(demo: &Demo, advice: &str) {
    demo.wait_for_log(advice);
    assert!(
        demo.metrics().contains("demo_redis_up 0\n"),
        "{}",
        demo.metrics()
    );
    assert_eq!(demo.page("/readyz"), 503);
    assert_eq!(demo.page("/healthz"), 200);
    assert!(!demo.log().contains("Connected"), "{}", demo.log());
}

fn is_ready(demo: &Demo) {
    wait_until("the demo is ready", || demo.page("/readyz") == 200);
    assert!(
        demo.metrics().contains("demo_redis_up 1\n"),
        "{}",
        demo.metrics()
    );
}

#[test]
fn redis_without_the_module_counts_as_disconnected() {
    let launch = Launch::default().without_module();
    let redis = launch.with(&["--enable-module-command", "yes"]).start();
    let open = Demo::with(&redis, "--rate 1/d --burst 1");
    let closed = Demo::with(&redis, "--rate 1/d --burst 1 --fail closed");
    for demo in [&open, &closed] {
        is_known_to_be_useless(
            demo,
            "does not have the module redis-rl: start it with --loadmodule",
        );
    }
    assert_eq!(open.get().status(), 200);
    open.wait_for_log("limiter failed open: no connection to Redis");
    assert_eq!(closed.get().status(), 503);
    let library = module();
    call::<()>(
        &redis,
        &["MODULE", "LOAD", library.to_str().expect("a plain path")],
    );
    is_ready(&open);
    open.wait_for(429);
    call::<()>(&redis, &["MODULE", "UNLOAD", "rl"]);
    wait_until("it is noticed", || {
        open.metrics().contains("demo_redis_up 0\n")
    });
    assert_eq!(open.page("/readyz"), 503);
}

#[test]
fn redis_that_requires_a_password_counts_as_disconnected() {
    let redis = Server::start();
    call::<()>(&redis, &["CONFIG", "SET", "requirepass", "s3cret"]);
    let demo = Demo::with(&redis, "");
    is_known_to_be_useless(&demo, "wants a password: give it in --redis or REDIS_URL");
    let url = format!("redis://:wrong@127.0.0.1:{}", redis.port());
    let wrong = Demo::start(&format!("--redis {url}"));
    is_known_to_be_useless(&wrong, "no connection to Redis");
    assert!(!wrong.log().contains("wrong@"), "{}", wrong.log());
}

fn user(redis: &Server, rules: &[&str]) -> String {
    call::<()>(
        redis,
        &[&["ACL", "SETUSER", "demo", "reset", "on", ">s3cret"], rules].concat(),
    );
    format!("redis://demo:s3cret@127.0.0.1:{}", redis.port())
}

#[test]
fn user_without_permission_counts_as_disconnected() {
    let redis = Server::start();
    for rules in [
        &["+@all", "-rl.take", "~*"][..],
        &["+@all", "~other:*"],
        &["-@all", "+rl.peek", "~*"],
    ] {
        let demo = Demo::start(&format!("--redis {}", user(&redis, rules)));
        is_known_to_be_useless(
            &demo,
            "the user may not do what the demo needs (ACL SETUSER",
        );
    }
}

#[test]
fn acl_rules_of_the_readme_suffice() {
    let redis = Server::start();
    let rules = ["~rate:limiter:*", "-@all", "+rl.take", "+rl.give"];
    let url = user(&redis, &rules);
    let demo = Demo::start(&format!(
        "--redis {url} --timeout 5000 --rate 1/d --burst 1 --fail closed"
    ));
    is_ready(&demo);
    assert!(
        demo.log().contains("Connected to Redis\n"),
        "{}",
        demo.log()
    );
    demo.wait_for(429);
    // The page does not take a server that keeps its counters to itself for one that is away.
    let told = crate::stores::snapshot(&demo);
    assert_eq!(told["downSince"], serde_json::Value::Null, "{told}");
    let trouble = told["trouble"].as_str().unwrap_or_default();
    assert!(
        trouble.contains("no permissions") && told["denied"].is_null(),
        "{told}"
    );
    user(
        &redis,
        &["~{rate:limiter:*", "-@all", "+rl.all", "+rl.give"],
    );
    let several = Demo::start(&format!(
        "--redis {url} --timeout 5000 --limit 1/d:1 --limit 1/h:1 --fail closed"
    ));
    several.wait_for(429);
    let every = "~{rate:limiter:* -@all +rl.all +rl.give +rl.wgive +rl.renew +rl.release";
    let every: Vec<_> = every.split(' ').collect();
    user(&redis, &every);
    let flags = "--timeout 5000 --limit 1/d:9 --sliding 1/1h --concurrent 9 --fail closed";
    let every = Demo::start(&format!("--redis {url} {flags}"));
    every.wait_for(429);
    wait_until("the slot is free", || {
        counted(&redis, "rl_lease_released") == 1
    });
    user(&redis, &[&rules[..], &["+info"]].concat());
    let demo = Demo::start(&format!("--redis {url} --timeout 5000"));
    let version = env!("CARGO_PKG_VERSION");
    demo.wait_for_log(&format!("Connected to Redis (redis-rl {version})\n"));
}

#[test]
fn health_endpoints_need_no_token() {
    let mut redis = Server::start();
    let demo = Demo::with(&redis, "--admin-token 0123456789abcdef");
    is_up(&demo);
    // A container's name is asked for as its address.
    let elsewhere = crate::driver::send_as("10.1.2.3:8081", demo.admin, "GET /readyz", b"");
    assert_eq!((elsewhere.status(), elsewhere.body()), (200, "Ready\n"));
    redis.kill();
    wait_until("it is noticed", || demo.page("/readyz") == 503);
    let told = send(demo.admin, "GET /readyz", b"");
    assert!(
        !told.body().contains(&redis.port().to_string()),
        "{}",
        told.body()
    );
    assert_eq!(demo.page("/healthz"), 200);
    redis.restart();
    is_up(&demo);
}

fn is_up(demo: &Demo) {
    wait_until("the demo is ready", || demo.page("/readyz") == 200);
    assert_eq!(demo.page("/healthz"), 200);
}

#[test]
fn hanging_redis_is_not_ready() {
    let redis = Server::start();
    let demo = Demo::with(&redis, "");
    is_up(&demo);
    signal(pid(&redis), "STOP");
    assert_eq!(demo.page("/readyz"), 503);
    assert_eq!(demo.page("/healthz"), 200);
}

/// The user may not call ROLE, so only the first refusal can reveal it.
#[test]
fn demoted_master_is_dropped_at_its_first_refusal() {
    let redis = Server::start();
    let other = Server::start();
    let url = user(&redis, &["+@all", "-role", "~*"]);
    let demo = Demo::start(&format!("--redis {url} --timeout 5000"));
    is_up(&demo);
    call::<()>(
        &redis,
        &["REPLICAOF", "127.0.0.1", &other.port().to_string()],
    );
    demo.get();
    demo.wait_for_log("lost the connection to Redis: ");
    wait_until("it is no connection", || {
        demo.metrics().contains("demo_redis_up 0\n")
    });
    call::<()>(&redis, &["REPLICAOF", "NO", "ONE"]);
    is_up(&demo);
}
