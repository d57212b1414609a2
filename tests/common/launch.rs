//! Starts servers.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::clock::{self, Looks};
use super::server::{LOG, PRINTED};
use super::{module, port, root, valgrind, Server};

/// The parameters of a server's start. The default is the server under test with the module and no
/// persistence.
#[derive(Clone)]
pub struct Launch {
    binary: PathBuf,
    configuration: Option<PathBuf>,
    module: Option<PathBuf>,
    module_arguments: Vec<String>,
    arguments: Vec<String>,
    sentinel_file: Option<String>,
    pub looks_at_clock: Option<Looks>,
}

impl Default for Launch {
    fn default() -> Self {
        Self {
            binary: Self::under_test(),
            configuration: None,
            module: Some(module()),
            module_arguments: Vec::new(),
            arguments: Vec::new(),
            sentinel_file: None,
            looks_at_clock: None,
        }
    }
}

impl Launch {
    /// Returns the server under test; a relative path is the repository's.
    pub fn under_test() -> PathBuf {
        let named = std::env::var_os("REDIS_RL_SERVER");
        let named = PathBuf::from(named.unwrap_or_else(|| "redis-server".into()));
        match named.components().count() {
            1 => named, // A program that the system finds.
            _ => root().join(named),
        }
    }

    /// Adds arguments for the server.
    pub fn with(mut self, arguments: &[&str]) -> Self {
        self.arguments
            .extend(arguments.iter().map(ToString::to_string));
        self
    }

    /// Uses another server than the one under test.
    pub fn binary(mut self, path: impl Into<PathBuf>) -> Self {
        self.binary = path.into();
        self
    }

    /// Uses a configuration file, which the server may rewrite.
    pub fn configuration(mut self, file: &Path) -> Self {
        self.configuration = Some(file.to_owned());
        self
    }

    /// Uses another library than the one under test.
    pub fn module(mut self, library: impl Into<PathBuf>) -> Self {
        self.module = Some(library.into());
        self
    }

    /// Starts without the module.
    pub fn without_module(mut self) -> Self {
        self.module = None;
        self
    }

    /// Starts as a Sentinel with this configuration, stored in a file.
    pub fn sentinel(configuration: &str) -> Self {
        let mut launch = Self::default().without_module();
        launch.sentinel_file = Some(configuration.into());
        launch
    }

    /// Arguments for the module.
    pub fn module_arguments(mut self, arguments: &[&str]) -> Self {
        self.module_arguments = arguments.iter().map(ToString::to_string).collect();
        self
    }

    /// Adds a clock that [`Server::set_clock`] moves. Not every server starts under libfaketime.
    pub fn with_clock(mut self) -> Self {
        self.looks_at_clock = Some(Looks::EachTime);
        self
    }

    /// Does the same for a server that reads the clock's file only once a second.
    pub fn with_clock_seen_once_a_second(mut self) -> Self {
        self.looks_at_clock = Some(Looks::OnceASecond);
        self
    }

    /// Starts it.
    ///
    /// # Panics
    /// It does not start.
    pub fn start(self) -> Server {
        self.try_start()
            .unwrap_or_else(|log| panic!("the server does not start:\n{log}"))
    }

    /// Starts it, or says what its log says.
    pub fn try_start(self) -> Result<Server, String> {
        loop {
            let started = Server::new(self.clone(), port::free());
            // Another process may take the port between the search for a free one and the start.
            if !matches!(&started, Err(log) if log.contains("Address already in use")) {
                return started;
            }
        }
    }

    /// Returns the command of a server in this folder.
    pub fn command(&self, port: u16, dir: &Path) -> Command {
        let mut command = match &self.module {
            Some(_) if valgrind::is_on() => valgrind::command(&self.binary, dir),
            _ => Command::new(&self.binary),
        };
        command.current_dir(dir);
        command.args(&self.configuration);
        if let Some(configuration) = &self.sentinel_file {
            fs::write(dir.join("sentinel.conf"), configuration).expect("a configuration");
            command.args(["sentinel.conf", "--sentinel"]);
        }
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1"]);
        command.args(["--save", "", "--logfile", LOG]);
        if let Some(module) = &self.module {
            command.arg("--loadmodule").arg(module);
            command.args(&self.module_arguments);
        }
        command.args(&self.arguments);
        if let Some(looks) = self.looks_at_clock {
            command.envs(clock::environment(dir, looks));
        }
        // Its output outside its log would only appear between the tests' lines.
        let printed = fs::File::create(dir.join(PRINTED)).expect("a file for what it prints");
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(printed);
        command
    }
}
