//! Random and spoilt calls to a real server, each reply and each stored byte held to a model that
//! shares no line with the module.
//!
//! `REDIS_RL_FUZZ_SECONDS` sets how long (a minute), `REDIS_RL_FUZZ_SEED` which calls.

#[path = "../oracle/calendar.rs"]
mod calendar;
#[path = "../common/mod.rs"]
mod common;
#[path = "../oracle/leases.rs"]
mod lease_oracle;
#[path = "../oracle/mod.rs"]
mod oracle;

mod calls;
mod check;
mod leases;
mod model;
mod random;
mod syntax;
mod window;
mod window_calls;
#[path = "../oracle/windows.rs"]
mod windows;
mod wire;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use check::Moment;
use common::{Launch, Server};
use model::Model;
use random::Random;
use wire::{Command, Wire};

fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is a number")),
    )
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(since.expect("after 1970").as_nanos()).expect("before 2554")
}

/// Sends the commands at once, a look at the keys of each behind it, and checks what comes back.
fn check(wire: &mut Wire, model: &mut Model, commands: &[Command]) {
    let probes: Vec<_> = commands.iter().map(|c| model.keys_of(c)).collect();
    let earliest = now();
    for (command, keys) in commands.iter().zip(&probes) {
        wire.send(command);
        for key in keys {
            wire.probe(key);
        }
    }
    wire.flush();
    let mut moment = Moment::from(earliest);
    for (command, keys) in commands.iter().zip(&probes) {
        let reply = wire.reply();
        let found: Vec<_> = keys.iter().map(|_| wire.probed()).collect();
        moment.ends(now());
        model.check(command, reply, keys, found, &mut moment);
    }
}

#[test]
fn every_reply_is_the_models() {
    let seed = setting("REDIS_RL_FUZZ_SEED").unwrap_or_else(now);
    let seconds = setting("REDIS_RL_FUZZ_SECONDS").unwrap_or(60);
    println!("REDIS_RL_FUZZ_SEED={seed}");
    let mut server: Server = Launch::default().module_arguments(&["CL.THROTTLE"]).start();
    let mut wire = Wire::connect(&server);
    let mut random = Random::new(seed);
    let mut model = Model::new(seed);
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end {
        let size = random.one_of(&[1, 4, 32]);
        let batch: Vec<_> = (0..size).map(|_| calls::any(&mut random, &model)).collect();
        check(&mut wire, &mut model, &batch);
    }
    println!("{}", model.tally());
    assert!(server.alive());
    // That much is reached in a second; less, and the calls were not what they should be.
    model.assert_variety();
}
