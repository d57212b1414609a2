//! A Redis server of the demo's own, which lives no longer than the demo.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A running server with the module.
pub struct OwnServer {
    server: Child,
    /// Waits for its standard input to close, then kills the server: what takes the server down
    /// when the demo itself is killed and can do nothing any more.
    guard: Child,
    pub port: u16,
}

impl OwnServer {
    /// Starts `program` with `module` on a free port of the loopback interface and waits until it
    /// is there.
    ///
    /// # Errors
    /// The program cannot be run, or ends at once; then with its own words.
    pub fn start(program: &str, module: &Path) -> io::Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        // In a process group of its own, Ctrl-C in a terminal reaches only the demo.
        let mut server = Command::new(program)
            .args(["--bind", "127.0.0.1", "--port", &port.to_string()])
            .args(["--save", "", "--appendonly", "no", "--loadmodule"])
            .arg(module)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()?;
        let mut output = server.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let guard = Command::new("sh")
            .args(["-c", "read -r _; kill -9 \"$1\"", "sh"])
            .arg(server.id().to_string())
            .stdin(Stdio::piped())
            .process_group(0)
            .spawn();
        let guard = match guard {
            Ok(guard) => guard,
            Err(error) => return Err(server.kill().err().unwrap_or(error)),
        };
        let mut own = Self {
            server,
            guard,
            port,
        };
        while !answers(port) {
            if own.server.try_wait()?.is_some() {
                return Err(io::Error::other(io::read_to_string(&mut output)?));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        // Read on, or the server would stop at a full pipe.
        std::thread::spawn(move || io::copy(&mut output, &mut io::sink()));
        Ok(own)
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        // The guard first: the server's process id may be somebody else's once it is gone.
        for child in [&mut self.guard, &mut self.server] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A server listens before it has loaded its modules; it answers only afterwards.
fn answers(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok_and(|mut stream| {
        stream.write_all(b"PING\r\n").is_ok() && stream.read_exact(&mut [0]).is_ok()
    })
}
