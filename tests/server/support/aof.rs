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
