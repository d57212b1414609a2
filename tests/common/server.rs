//! A server process: how it is started, asked, killed and started again.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use super::{clock, valgrind, wait_until, Launch};

/// The file that it logs to.
pub const LOG: &str = "log";
/// The file for what it and the loader print.
pub const PRINTED: &str = "printed";

/// A running server, taken down when dropped.
pub struct Server {
    launch: Launch,
    process: Child,
    port: u16,
    dir: PathBuf,
}

impl Server {
    /// Starts a server with the module.
    pub fn start() -> Self {
        Launch::default().start()
    }

    /// Starts a server with the module and more arguments.
    pub fn with(arguments: &[&str]) -> Self {
        Launch::default().with(arguments).start()
    }

    /// Starts it on this port. `Err`: it does not start, and this is its log.
    pub fn new(launch: Launch, port: u16) -> Result<Self, String> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("server-{}-{number}", std::process::id());
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&dir).expect("a folder for the server");
        clock::set(&dir, 0);
        let process = launch
            .command(port, &dir)
            .spawn()
            .expect("the server's binary runs");
        let mut server = Self {
            launch,
            process,
            port,
            dir,
        };
        server.wait_for_start()?;
        Ok(server)
    }

    /// Waits until it answers. `Err`: it never will, and this is its log.
    fn wait_for_start(&mut self) -> Result<(), String> {
        let mut failed = false;
        wait_until("the server answers", || {
            failed = !self.alive() || self.log().contains(clock::HANGS);
            failed || self.answers()
        });
        if failed {
            Err(self.log())
        } else {
            Ok(())
        }
    }

    /// Returns whether this process answers on the port with its data loaded.
    fn answers(&self) -> bool {
        let info = self.client().get_connection().and_then(|mut connection| {
            let _: () = redis::cmd("PING").query(&mut connection)?;
            redis::cmd("INFO")
                .arg("server")
                .query::<String>(&mut connection)
        });
        let this = format!("process_id:{}\r", self.process.id());
        info.is_ok_and(|info| info.contains(&this))
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its address for the `redis` crate and its like.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Its folder, with the log and whatever it persists.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns its log so far, and the output of the server or the loader.
    pub fn log(&self) -> String {
        let printed = fs::read(self.dir.join(PRINTED)).unwrap_or_default();
        let log = [self.log_file(), printed].concat();
        String::from_utf8_lossy(&log).into_owned()
    }

    fn log_file(&self) -> Vec<u8> {
        fs::read(self.dir.join(LOG)).unwrap_or_default()
    }

    /// Returns a client for it.
    pub fn client(&self) -> redis::Client {
        redis::Client::open(self.url()).expect("an address")
    }

    /// Opens a connection, without a reply timeout: with one, Linux ends a wait early (EINTR) when
    /// another thread's child process ends.
    pub fn connection(&self) -> redis::Connection {
        let connection = self.client().get_connection();
        connection.expect("the server takes connections")
    }

    /// Returns whether the process is still running.
    pub fn alive(&mut self) -> bool {
        matches!(self.process.try_wait(), Ok(None))
    }

    /// Sends it a signal, such as `STOP`.
    pub fn signal(&self, name: &str) {
        let pid = self.process.id().to_string();
        let status = Command::new("kill")
            .args([format!("-{name}"), pid])
            .status();
        assert!(status.expect("kill runs").success());
    }

    /// Kills it with SIGKILL.
    pub fn kill(&mut self) {
        // Nothing is left to do about a process that has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Kills it, if need be, and starts it again: the same port, folder and arguments.
    ///
    /// # Panics
    /// It does not start.
    pub fn restart(&mut self) {
        self.kill();
        wait_until("the port is free", || {
            let logged = self.log_file().len();
            let mut command = self.launch.command(self.port, &self.dir);
            self.process = command.spawn().expect("the server's binary runs");
            let Err(log) = self.wait_for_start() else {
                return true;
            };
            // Another process may try the port in its search for a free one.
            let new = String::from_utf8_lossy(&self.log_file()[logged..]).into_owned();
            let is_taken = new.contains("Address already in use");
            assert!(is_taken, "the server does not start again:\n{log}");
            false
        });
    }

    /// Kills it, if need be, and starts it again in another way: the same port and folder.
    ///
    /// # Panics
    /// It does not start.
    pub fn restart_as(&mut self, launch: Launch) {
        self.launch = launch;
        self.restart();
    }

    /// Sets its clock to `seconds` from now; it runs on from there.
    pub fn set_clock(&self, seconds: i64) {
        assert!(
            self.launch.looks_at_clock.is_some(),
            "started without a clock of its own"
        );
        clock::set(&self.dir, seconds);
        // A server may read the file a moment later.
        let mut connection = self.connection();
        wait_until("the server's clock is moved", || {
            let since = SystemTime::now().duration_since(UNIX_EPOCH);
            let (now, _): (i64, i64) = redis::cmd("TIME").query(&mut connection).expect("a time");
            let expected = since.expect("a time after 1970").as_secs() as i64 + seconds;
            (expected..=expected + 1).contains(&now)
        });
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let errors = match std::thread::panicking() || !valgrind::finds_leaks() {
            true => Vec::new(),
            false => {
                // In the ordinary way, so that leaks are reported.
                if self.alive() {
                    self.signal("TERM");
                }
                wait_until("the server ends", || !self.alive());
                valgrind::errors(&self.dir)
            }
        };
        self.kill();
        if std::thread::panicking() {
            eprintln!(
                "the log of the server on port {}:\n{}",
                self.port,
                self.log()
            );
        }
        // A folder that cannot be removed lies in the build's folder and harms nobody.
        let _ = fs::remove_dir_all(&self.dir);
        assert!(errors.is_empty(), "valgrind: {}", errors.join("\n\n"));
    }
}
