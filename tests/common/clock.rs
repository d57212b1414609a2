//! A server's clock, moved by libfaketime.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

/// libfaketime's last words in a server that it then leaves hanging.
pub const HANGS: &str = "libfaketime: Cannot recover";

const FILE: &str = "clock";

/// The interval at which a server checks its moved clock.
#[derive(Clone, Copy)]
pub enum Looks {
    EachTime,
    OnceASecond,
}

/// Returns the environment in which a server in this folder runs with its own clock.
pub fn environment(dir: &Path, looks: Looks) -> [(&'static str, OsString); 4] {
    let cache = match looks {
        Looks::EachTime => ("FAKETIME_NO_CACHE", "1".into()),
        Looks::OnceASecond => ("FAKETIME_CACHE_DURATION", "1".into()),
    };
    [
        ("LD_PRELOAD", library().into()),
        ("FAKETIME_TIMESTAMP_FILE", dir.join(FILE).into()),
        cache,
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
    ]
}

/// Sets the clock of the server in this folder to `seconds` from now.
pub fn set(dir: &Path, seconds: i64) {
    // Renamed into place, since the server may read it at any moment.
    let new = dir.join("clock.new");
    fs::write(&new, format!("{seconds:+}")).expect("the clock's file");
    fs::rename(new, dir.join(FILE)).expect("the clock's file");
}

fn library() -> PathBuf {
    let folders = [
        "/usr/lib",
        "/usr/lib64",
        "/usr/local/lib",
        "/opt/homebrew/lib",
    ];
    let inside = folders
        .iter()
        .filter_map(|folder| fs::read_dir(folder).ok())
        .flatten();
    let below = inside.flatten().map(|entry| entry.path());
    let candidates = below.chain(folders.iter().map(PathBuf::from));
    let library = candidates
        .map(|folder| folder.join("faketime/libfaketime.so.1"))
        .find(|library| library.exists());
    library.expect("libfaketime: run scripts/setup.sh faketime")
}
