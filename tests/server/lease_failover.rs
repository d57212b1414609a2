//! A failover loses the leases that were not replicated, counted, and nothing else.

use redis::Connection;

use crate::lease::{acquire, LONG};
use crate::support::node::launch;
use crate::support::Ask;

const SLOTS: u32 = 10;
const SHIPPED: u32 = 4;
const LOST: u32 = 3;

#[test]
fn failover_loses_unreplicated_leases_and_renewals_report_it() {
    let mut master = launch().start();
    let replica = master.attach(launch());
    let mut c = master.connection();
    for n in 0..SHIPPED {
        assert_eq!(
            acquire(&mut c, "slots", SLOTS, LONG, &format!("shipped{n}"))[0],
            1
        );
    }
    replica.wait_for(&master);
    // Promoted while the old master still answers: what that gives out now is shipped to nobody.
    replica.ask::<()>("REPLICAOF NO ONE");
    for n in 0..LOST {
        let token = format!("lost{n}");
        assert_eq!(acquire(&mut c, "slots", SLOTS, LONG, &token)[0], 1);
    }
    master.kill();
    let mut c = replica.connection();

    let renewed =
        |c: &mut Connection, token: String| -> u32 { c.call(&["RL.RENEW", "slots", LONG, &token]) };
    let mut of = |name: &str, count: u32| -> u32 {
        (0..count)
            .map(|n| renewed(&mut c, format!("{name}{n}")))
            .sum()
    };
    assert_eq!(of("shipped", SHIPPED), SHIPPED);
    assert_eq!(of("lost", LOST), 0, "their holders are told");
    // The new master grants the slots that it believes to be free: that many more than the limit
    // are at work, until renewals have stopped the others.
    let granted = (0..SLOTS).filter(|n| {
        let token = format!("new{n}");
        acquire(&mut c, "slots", SLOTS, LONG, &token)[0] == 1
    });
    let at_work = SHIPPED + LOST + u32::try_from(granted.count()).expect("few");
    assert_eq!(at_work, SLOTS + LOST);
}
