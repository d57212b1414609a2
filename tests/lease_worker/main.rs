//! A worker that acquires a slot, works, and releases it, in an endless loop, to be killed at any
//! moment.
//!
//! Besides its lease it holds the lock of one of as many files as there are slots. The system frees
//! a lock when its process dies, so the locks count the active workers independently: a worker that
//! has a lease and finds no free lock has found one worker too many.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const KEY: &str = "slots";

struct Worker {
    reader: BufReader<TcpStream>,
    folder: PathBuf,
    limit: String,
    ttl_ms: i64,
    files: usize,
    /// Whether it waits in the server for a slot.
    waits: bool,
    dice: u64,
}

fn main() {
    let words: Vec<String> = std::env::args().collect();
    let [_, port, folder, limit, files, ttl_ms, how] = &words[..] else {
        panic!("lease-worker PORT FOLDER LIMIT FILES TTL-MS POLLS|WAITS");
    };
    let stream = TcpStream::connect(format!("127.0.0.1:{port}")).expect("a server");
    let mut worker = Worker {
        reader: BufReader::new(stream),
        folder: folder.into(),
        limit: limit.clone(),
        ttl_ms: ttl_ms.parse().expect("milliseconds"),
        files: files.parse().expect("a number"),
        waits: how == "WAITS",
        dice: u64::from(std::process::id()).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
    };
    for count in 0.. {
        let token = format!("{}-{count}", std::process::id());
        worker.turn(&token);
    }
}

impl Worker {
    fn turn(&mut self, token: &str) {
        let ttl = format!("{}ms", self.ttl_ms);
        let limit = self.limit.clone();
        let mut deadline = now_ms() + self.ttl_ms;
        if self.waits {
            let wait_ms = (self.roll(1_000) + 1).to_string();
            let reply = self.call(&["RL.ACQUIRE", KEY, &limit, &ttl, token, "WAIT", &wait_ms]);
            // The lease began at an unknown time, so it is renewed at a known one.
            deadline = now_ms() + self.ttl_ms;
            if reply[0] == 0 || self.call(&["RL.RENEW", KEY, &ttl, token])[0] == 0 {
                return;
            }
        } else {
            let reply = self.call(&["RL.ACQUIRE", KEY, &limit, &ttl, token]);
            if reply[0] == 0 {
                let wait = self.roll(30) + 1;
                return rest(wait.min(reply[3].max(1)));
            }
        }
        if let Some(lock) = self.lock() {
            self.work(token, lock, deadline);
        }
        match self.roll(10) {
            // It does not release, like a killed worker: the slot is freed at its end.
            0 => {}
            // A reply that was lost, and the same again.
            1 => {
                self.call(&["RL.RELEASE", KEY, token]);
                self.call(&["RL.RELEASE", KEY, token]);
            }
            _ => {
                self.call(&["RL.RELEASE", KEY, token]);
            }
        }
    }

    /// Locks a free file. If there is none, reports why.
    fn lock(&mut self) -> Option<File> {
        let now = now_ms();
        let mut ends = Vec::new();
        for n in 0..self.files {
            let path = self.folder.join(format!("slot-{n}"));
            let mut file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(path)
                .expect("a file");
            // SAFETY: the descriptor is the file's, which is open.
            if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } == 0 {
                return Some(file);
            }
            let mut text = String::new();
            // An unreadable file counts as a running lease.
            let _ = file.read_to_string(&mut text);
            ends.push(text.trim().parse().unwrap_or(i64::MAX));
        }
        // A worker that was not scheduled for that long outlives its lease.
        let what = match ends.iter().all(|&end| end > now) {
            true => "violations",
            false => "stalled",
        };
        note(&self.folder, what, &format!("{now} {ends:?}\n"));
        None
    }

    fn work(&mut self, token: &str, mut lock: File, mut deadline: i64) {
        write_end(&mut lock, deadline);
        let until =
            now_ms() + self.roll(self.ttl_ms / 2) + i64::from(self.roll(8) == 0) * self.ttl_ms;
        let ttl = format!("{}ms", self.ttl_ms);
        while now_ms() < until {
            if deadline - now_ms() < self.ttl_ms * 2 / 3 {
                let later = now_ms() + self.ttl_ms;
                if self.call(&["RL.RENEW", KEY, &ttl, token])[0] == 0 {
                    note(&self.folder, "late", "x");
                    return;
                }
                deadline = later;
                write_end(&mut lock, deadline);
            }
            rest(5);
        }
        note(&self.folder, "done", "x");
        // The lock goes with the file: before the lease.
    }

    fn roll(&mut self, below: i64) -> i64 {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        ((self.dice >> 11) % below as u64) as i64
    }

    /// Returns the integers of a reply.
    fn call(&mut self, words: &[&str]) -> Vec<i64> {
        let mut sent = format!("*{}\r\n", words.len());
        for word in words {
            sent += &format!("${}\r\n{word}\r\n", word.len());
        }
        self.reader
            .get_mut()
            .write_all(sent.as_bytes())
            .expect("a server");
        let line = self.line();
        match line.split_at(1) {
            (":", n) => vec![n.parse().expect("a number")],
            ("*", n) => {
                let n: usize = n.parse().expect("a number");
                let each = |_| self.line()[1..].parse().expect("a number");
                (0..n).map(each).collect()
            }
            _ => panic!("{words:?}: {line}"),
        }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.reader.read_line(&mut line).expect("a reply");
        assert!(line.ends_with("\r\n"), "the server has gone");
        line.trim_end().to_owned()
    }
}

fn write_end(lock: &mut File, deadline: i64) {
    lock.seek(SeekFrom::Start(0)).expect("a file");
    lock.write_all(format!("{deadline}").as_bytes())
        .expect("a file");
}

fn note(folder: &Path, name: &str, text: &str) {
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(folder.join(name));
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .expect("a file");
}

fn rest(ms: i64) {
    std::thread::sleep(Duration::from_millis(ms.unsigned_abs()));
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("a time after 1970").as_millis() as i64
}
