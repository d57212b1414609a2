//! ACL: the commands that a user may call, and on which keys.

use redis::Value;

use crate::common::Server;
use crate::support::node::launch;
use crate::support::{call, knows, texts, Ask};

#[test]
fn user_takes_only_from_keys_matching_the_pattern() {
    let server = Server::start();
    let mut c = server.connection();
    c.ask::<()>("ACL SETUSER app on >secret ~limit:* +rl.take +rl.wtake");
    let mut app = server.connection();
    app.ask::<()>("AUTH app secret");
    assert_eq!(app.take("limit:1 1/d 5")[0], 1);
    assert_eq!(app.ask::<[i64; 5]>("RL.WTAKE limit:2 5 1d")[0], 1);
    for call in [
        "RL.TAKE other:1 1 5",
        "RL.WTAKE other:1 5 DAY",
        "RL.WTAKE other:1 5 SLIDING 1h",
        "RL.WPEEK limit:2 5 DAY",
        "GET limit:1",
    ] {
        let error = app.error(call);
        assert!(error.starts_with("NOPERM"), "{call}: {error}");
    }
    assert_eq!(c.ask::<i64>("DBSIZE"), 2);
}

#[test]
fn read_only_user_cannot_take() {
    let server = Server::start();
    let mut c = server.connection();
    let user = [
        "SETUSER",
        "reader",
        "on",
        ">secret",
        "%R~*",
        "+rl.take",
        "+rl.wtake",
        "+rl.wgive",
        "+rl.wpeek",
        "+get",
    ];
    let made = call("ACL", &user).query::<()>(&mut c);
    if knows(&mut c, &["FUNCTION", "LIST"]) {
        made.expect("a user with a pattern for reading");
        let mut reader = server.connection();
        reader.ask::<()>("AUTH reader secret");
        reader.ask::<Option<String>>("GET k");
        reader.ask::<[i64; 5]>("RL.WPEEK k 5 DAY");
        for call in ["RL.TAKE k 1 5", "RL.WTAKE k 5 DAY", "RL.WGIVE k 5 DAY"] {
            let error = reader.error(call);
            assert!(error.starts_with("NOPERM"), "{call}: {error}");
        }
    } else {
        // Redis 6.2, which has no functions either, knows no such pattern.
        made.expect_err("no user");
    }
}

#[test]
fn rl_top_requires_admin() {
    let server = Server::start();
    let mut c = server.connection();
    c.ask::<()>("ACL SETUSER app on >secret ~* +@all -rl.top");
    let mut app = server.connection();
    app.ask::<()>("AUTH app secret");
    app.take("k 1 5");
    let error = app.error("RL.TOP");
    assert!(error.starts_with("NOPERM"), "{error}");

    // From Redis 7.2 on RL.TOP is in the category `dangerous`; before, modules could not assign
    // categories.
    let newer = texts(&c.ask("ACL CAT write")).contains(&"RL.TAKE".to_owned());
    let dangerous: Value = c.ask("ACL CAT dangerous");
    assert_eq!(texts(&dangerous).contains(&"RL.TOP".to_owned()), newer);
}

/// Before 7.2 a module's command is in no category, so `-@write` does not exclude it.
#[test]
fn read_only_rules_of_the_readme_exclude_takes() {
    let server = launch().start();
    let mut c = server.connection();
    c.ask::<()>(
        "ACL SETUSER less on >secret ~* +@all -@write -rl.take -rl.give -rl.mtake -cl.throttle \
         -rl.wtake -rl.wgive",
    );
    c.ask::<()>("ACL SETUSER more on >secret ~* -@all +@read +@connection +rl.peek +rl.wpeek");
    for user in ["less", "more"] {
        let mut reader = server.connection();
        reader.ask::<()>(&format!("AUTH {user} secret"));
        assert_eq!(reader.ask::<[i64; 5]>("RL.PEEK k 1/d 5")[..2], [1, 5]);
        assert_eq!(reader.ask::<[i64; 5]>("RL.WPEEK k 5 DAY")[..2], [1, 5]);
        for call in [
            "RL.TAKE k 1/d 5",
            "RL.WTAKE k 5 DAY",
            "RL.WGIVE k 5 DAY",
            "RL.GIVE k 1/d 5",
            "RL.MTAKE 1 k 1/d 5",
            "CL.THROTTLE k 1 1 60",
        ] {
            let error = reader.error(call);
            assert!(error.starts_with("NOPERM"), "{user}: {call}: {error}");
        }
    }
    assert_eq!(c.ask::<i64>("DBSIZE"), 0);
}
