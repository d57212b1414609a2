//! Ports for servers.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};

/// Below the range from which systems take ports for outgoing connections, so that a server that
/// is down for a moment finds its port again; a cluster node also listens 10 000 above.
const FIRST: u32 = 10_000;
const COUNT: u32 = 10_000;

/// Returns a port on which nobody listens at the moment. Another process may take it before the
/// caller does.
pub fn free() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Processes that run at the same time begin at different places.
    let start = std::process::id().wrapping_mul(397);
    for _ in 0..COUNT {
        let offset = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        let port = u16::try_from(FIRST + offset).expect("a port");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no port is free");
}
