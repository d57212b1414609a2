//! A Redis server of the demo's own, which lives no longer than the demo.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{sleep, timeout, Instant};

/// How long it may take to start.
const PATIENCE: Duration = Duration::from_secs(10);
/// So much of what it prints is kept, to tell why it ended.
const LAST_WORDS: usize = 64 * 1024;

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
    /// is there. If nobody waits any more, it is taken down.
    ///
    /// # Errors
    /// The program cannot be run, ends at once, then with its own words, or does not answer.
    pub async fn start(program: &str, module: &Path) -> io::Result<Self> {
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
        let output = server.stdout.take();
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
        own.wait(read(output)).await?;
        Ok(own)
    }

    async fn wait(&mut self, output: Output) -> io::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !answers(self.port).await {
            if let Some(status) = self.server.try_wait()? {
                // What it printed last may still be on its way.
                sleep(Duration::from_millis(100)).await;
                let words = output.lock().unwrap_or_else(PoisonError::into_inner);
                let words = Vec::from_iter(words.iter().copied());
                let words = String::from_utf8_lossy(&words).into_owned();
                return Err(io::Error::other(format!("{status}\n{words}")));
            }
            if Instant::now() > deadline {
                let why = format!("it did not answer on port {} in {PATIENCE:?}", self.port);
                return Err(io::Error::new(io::ErrorKind::TimedOut, why));
            }
            sleep(Duration::from_millis(10)).await;
        }
        Ok(())
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

type Output = Arc<Mutex<VecDeque<u8>>>;

/// Reads for as long as there is output, or the server would stop at a full pipe.
fn read(stdout: Option<ChildStdout>) -> Output {
    let output = Output::default();
    let kept = output.clone();
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        let mut stdout = stdout?;
        loop {
            let count = stdout.read(&mut bytes).ok().filter(|&count| count > 0)?;
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.extend(bytes.get(..count)?);
            let excess = kept.len().saturating_sub(LAST_WORDS);
            kept.drain(..excess);
        }
        #[expect(unreachable_code, reason = "gives the thread's result a type")]
        Some(())
    });
    output
}

/// A server listens before it has loaded its modules; it answers only afterwards.
async fn answers(port: u16) -> bool {
    let ask = async {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
        stream.writable().await.ok()?;
        stream.try_write(b"PING\r\n").ok()?;
        loop {
            stream.readable().await.ok()?;
            match stream.try_read(&mut [0]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return read.ok().filter(|&count| count > 0),
            }
        }
    };
    matches!(timeout(Duration::from_secs(1), ask).await, Ok(Some(_)))
}
