//! `demo metrics`: the counters of stores, whoever calls their limits.

use crate::common::{free_port, wait_until, Launch, Server};
use crate::driver::{call, metrics, Exporter};
use crate::prometheus::promtool;

fn take(server: &Server, key: &str) {
    call::<Vec<i64>>(server, &["RL.TAKE", key, "1/d", "1"]);
}

#[test]
fn exporter_counts_each_store_under_its_name() {
    let (one, mut two) = (Server::start(), Server::start());
    let bare = Launch::default().without_module().start();
    for key in ["a", "b", "b"] {
        take(&one, key);
    }
    take(&two, "c");
    // No more than it says it needs.
    let user = ["ACL", "SETUSER", "metrics", "on", ">s=3:cret", "-@all"];
    let may = ["+info", "+rl.top", "+ping"];
    call::<()>(&two, &[&user[..], &may].concat());
    let guarded = format!("two=redis://metrics:s%3D3%3Acret@127.0.0.1:{}/", two.port());
    let nobody = format!("gone=redis://127.0.0.1:{}", free_port());
    let bare = format!("bare={}", bare.url());
    let exporter = Exporter::of(&[&one.url(), &guarded, &nobody, &bare]);

    let by_address = format!("store=\"127.0.0.1:{}\"", one.port());
    for line in [
        format!("rl_up{{{by_address}}} 1"),
        format!("rl_takes_allowed_total{{{by_address}}} 2"),
        format!("rl_takes_denied_total{{{by_address}}} 1"),
        format!("rl_top_denials{{rank=\"1\",{by_address}}} 1"),
        format!("rl_errors_total{{kind=\"memory\",{by_address}}} 0"),
        "rl_up{store=\"two\"} 1".to_owned(),
        "rl_takes_allowed_total{store=\"two\"} 1".to_owned(),
        "rl_takes_denied_total{store=\"two\"} 0".to_owned(),
        "rl_up{store=\"gone\"} 0".to_owned(),
        "rl_up{store=\"bare\"} 0".to_owned(),
    ] {
        exporter.wait_for(&line);
    }
    let text = metrics(exporter.port);
    assert!(
        !text.contains("rl_takes_allowed_total{store=\"gone\"}"),
        "{text}"
    );
    promtool(&["check", "metrics"], &text);
    let log = exporter.log();
    assert!(
        log.contains("bare: ") && log.contains("does not have the module"),
        "{log}"
    );

    two.kill();
    exporter.wait_for("rl_up{store=\"two\"} 0");
    exporter.wait_for(&format!("rl_up{{{by_address}}} 1"));
    two.restart();
    exporter.wait_for("rl_up{store=\"bare\"} 0");
    wait_until("a failure is logged once, however often it is met", || {
        let log = exporter.log();
        log.matches("warning: bare: ").count() == 1 && log.contains("warning: two: ")
    });
}
