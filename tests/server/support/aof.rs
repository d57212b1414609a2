//! Reads a server's AOF.

use std::fs;
use std::path::{Path, PathBuf};

use crate::common::Server;

/// Returns the AOF of a server, which may consist of several files in a folder.
pub fn read(server: &Server) -> Vec<u8> {
    let parts = files(server.dir());
    let read = |path: &PathBuf| fs::read(path).expect("an AOF");
    parts.iter().flat_map(read).collect()
}

/// Counts the occurrences of a text in the AOF of a server, ignoring case.
pub fn count(server: &Server, text: &str) -> usize {
    let log = read(server).to_ascii_uppercase();
    let text = text.to_ascii_uppercase();
    let windows = log.windows(text.len());
    windows.filter(|window| *window == text.as_bytes()).count()
}

/// Cuts an eighth off the AOF of a server that is not running.
pub fn truncate(server: &Server) {
    let of = |path: &PathBuf| fs::metadata(path).expect("an AOF").len();
    let log = files(server.dir()).into_iter().max_by_key(of);
    let log = log.expect("an AOF");
    let file = fs::OpenOptions::new().write(true).open(&log);
    let file = file.expect("an AOF that can be written");
    file.set_len(of(&log) * 7 / 8).expect("a shorter AOF");
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).expect("a directory").flatten();
    let mut found = Vec::new();
    for path in entries.map(|entry| entry.path()) {
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "aof") {
            found.push(path);
        }
    }
    found
}
