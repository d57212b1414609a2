//! RL.TAKE against a real server.

use std::process::{Child, Command, Stdio};

struct Server(Child, u16);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start() -> (Server, redis::Connection) {
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|l| l.local_addr())
        .expect("a free port")
        .port();
    let module = concat!(env!("CARGO_MANIFEST_DIR"), "/target/release/libredis_rl.so");
    let child = Command::new("redis-server")
        .args([
            "--port",
            &port.to_string(),
            "--save",
            "",
            "--loadmodule",
            module,
        ])
        .stdout(Stdio::null())
        .spawn()
        .expect("redis-server starts");
    let server = Server(child, port);
    let client = redis::Client::open(("127.0.0.1", server.1)).expect("an address");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    loop {
        if let Ok(connection) = client.get_connection() {
            return (server, connection);
        }
        assert!(std::time::Instant::now() < deadline, "server is not up");
        std::thread::yield_now();
    }
}

#[test]
fn two_are_allowed_and_the_third_denied() {
    let (_server, mut c) = start();
    let mut take = || -> [i64; 5] {
        redis::cmd("RL.TAKE")
            .arg("k")
            .arg("2")
            .arg("2")
            .query(&mut c)
            .expect("a reply")
    };
    assert_eq!(take()[..3], [1, 2, 1]);
    assert_eq!(take()[..3], [1, 2, 0]);
    let denied = take();
    assert_eq!(denied[..3], [0, 2, 0]);
    assert!((1..=500).contains(&denied[3]), "{denied:?}");
}
