//! Key events of the module: `rl.take`, `rl.deny`, `rl.give`.

use redis::Value;

use crate::common::Server;
use crate::support::node::launch;
use crate::support::{listener, Ask};

#[test]
fn takes_denials_and_refunds_send_one_event_per_key() {
    let server = Server::start();
    let mut c = server.connection();
    c.ask::<()>("CONFIG SET notify-keyspace-events Ed");
    let mut listener = server.connection();
    let mut events = listener.as_pubsub();
    events
        .psubscribe("__keyevent@0__:*")
        .expect("a subscription");
    type Case<'a> = (&'a str, &'a [(&'a str, &'a str)]);
    let calls: [Case; 21] = [
        ("RL.TAKE k 1/d 2", &[("rl.take", "k")]),
        ("RL.PEEK k 1/d 2 COST 2", &[]),
        ("RL.TAKE k 1/d 2 COST 2", &[("rl.deny", "k")]),
        ("RL.TAKE new 1/d 2 COST 3", &[("rl.deny", "new")]),
        ("RL.GIVE none 1/d 2", &[]),
        ("RL.TAKE new 1/d 2 COST 0", &[]),
        ("RL.TAKE new 1/d 2 COST 0 KEEP 3", &[("rl.deny", "new")]),
        ("RL.WTAKE new 2 1h COST 0", &[]),
        ("RL.MTAKE 2 a 1 5 b 1 5 COST 0", &[]),
        ("RL.GIVE k 1/d 2", &[("rl.give", "k")]),
        (
            "RL.MTAKE 2 a 1 5 b 1 5",
            &[("rl.take", "a"), ("rl.take", "b")],
        ),
        ("RL.MTAKE 2 a 1 5 b 1 1 COST 2", &[("rl.deny", "b")]),
        ("RL.WTAKE day 2 1d", &[("rl.take", "day")]),
        ("RL.WTAKE day 2 1d COST 2", &[("rl.deny", "day")]),
        ("RL.WPEEK day 2 1d COST 2", &[]),
        ("RL.WGIVE day 2 1d", &[("rl.give", "day")]),
        ("RL.WGIVE day 2 1d", &[]),
        ("RL.WTAKE any 2 SLIDING 1h", &[("rl.take", "any")]),
        ("RL.WTAKE any 2 SLIDING 1h COST 3", &[("rl.deny", "any")]),
        ("RL.WPEEK any 2 SLIDING 1h", &[]),
        ("RL.WGIVE any 2 SLIDING 1h", &[("rl.give", "any")]),
    ];
    for (call, expected) in calls {
        c.ask::<()>(call);
        // Whatever came before the end of this call came before this message.
        c.call::<()>(&["PUBLISH", "__keyevent@0__:done", ""]);
        let mut seen = Vec::new();
        loop {
            let message = events.get_message().expect("an event");
            let channel = message
                .get_channel_name()
                .trim_start_matches("__keyevent@0__:");
            if channel == "done" {
                break;
            }
            let key: String = message.get_payload().expect("a key");
            seen.push((channel.to_string(), key));
        }
        let seen: Vec<_> = seen.iter().map(|(e, k)| (e.as_str(), k.as_str())).collect();
        assert_eq!(seen, expected, "{call}");
    }
}

/// Modules receive the server's own events regardless of the setting, too.
#[test]
fn other_modules_receive_events_regardless_of_the_setting() {
    let server = launch()
        .with(&["--loadmodule", listener::library()])
        .start();
    let mut c = server.connection();
    let setting: Vec<String> = c.ask("CONFIG GET notify-keyspace-events");
    assert_eq!(setting, ["notify-keyspace-events", ""]);
    for call in [
        "RL.TAKE k 1/d 1",
        "RL.TAKE k 1/d 1",
        "RL.GIVE k 1/d 1",
        "RL.PEEK k 1/d 1",
        "RL.MTAKE 2 a 1/d 1 b 1/d 1",
        "RL.WTAKE w 1 1d",
        "RL.WTAKE w 1 1d",
        "RL.WGIVE w 1 1d",
        "RL.WPEEK w 1 1d",
    ] {
        c.ask::<Value>(call);
    }
    let heard: String = c.ask("LISTENER.HEARD");
    let expected = "rl.take k\nrl.deny k\nrl.give k\nrl.take a\nrl.take b\n\
                    rl.take w\nrl.deny w\nrl.give w\n";
    assert_eq!(heard, expected);
}
