//! What a server has written into its AOF.

use std::fs;
use std::path::{Path, PathBuf};

use crate::common::Server;

/// The AOF of a server, whose parts may lie in a folder.
pub fn read(server: &Server) -> Vec<u8> {
    let parts = files(server.dir());
    let read = |path: &PathBuf| fs::read(path).expect("an AOF");
    parts.iter().flat_map(read).collect()
}

/// How often a text is in the AOF of a server, in any case.
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
