//! A proxy to a server, which loses, delays or holds back replies.

#![allow(dead_code)]

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

const PASS: u8 = 0;
const LOSE: u8 = 1;
const HOLD: u8 = 2;
const DELAY: u8 = 3;

/// The least time that a delayed reply takes.
pub const LATE: Duration = Duration::from_millis(40);

/// It ends with the test's process.
pub struct Wire {
    pub port: u16,
    mode: Arc<AtomicU8>,
}

impl Wire {
    pub fn to(server: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let port = listener.local_addr().expect("a port").port();
        let mode = Arc::new(AtomicU8::new(PASS));
        let replies = mode.clone();
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let far = TcpStream::connect(("127.0.0.1", server)).expect("the server listens");
                let clone = |stream: &TcpStream| stream.try_clone().expect("a handle");
                let (near_2, far_2, mode) = (clone(&near), clone(&far), replies.clone());
                std::thread::spawn(move || pass(near, far, |_| true));
                std::thread::spawn(move || {
                    pass(far_2, near_2, |()| match mode.load(Ordering::Acquire) {
                        LOSE => {
                            mode.store(PASS, Ordering::Release);
                            false
                        }
                        HOLD => {
                            while mode.load(Ordering::Acquire) == HOLD {
                                sleep(Duration::from_millis(5));
                            }
                            true
                        }
                        DELAY => {
                            sleep(LATE);
                            true
                        }
                        _ => true,
                    })
                });
            }
        });
        Self { port, mode }
    }

    /// Closes the connection instead of passing the next reply back.
    pub fn lose_one(&self) {
        self.mode.store(LOSE, Ordering::Release);
    }

    /// Passes no reply back, until it is released.
    pub fn hold(&self) {
        self.mode.store(HOLD, Ordering::Release);
    }

    /// Passes back the replies that are held, and those that follow.
    pub fn release(&self) {
        self.mode.store(PASS, Ordering::Release);
    }

    /// Passes each reply back after `LATE`, one after the other.
    pub fn delay(&self) {
        self.mode.store(DELAY, Ordering::Release);
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, mut may: impl FnMut(()) -> bool) {
    let mut buffer = [0; 65536];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        if !may(()) || to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    // Nothing is left to do about an end that is closed already.
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
