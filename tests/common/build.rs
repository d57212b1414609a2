//! The library under test.

use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Returns the release build of the module, or the file named by `REDIS_RL_MODULE`, of any version;
/// a relative path is the repository's.
///
/// # Panics
/// The build is missing, or older than the source.
pub fn module() -> PathBuf {
    let root = root();
    if let Some(file) = std::env::var_os("REDIS_RL_MODULE") {
        let file = fs::canonicalize(root.join(file));
        return without_spaces(file.expect("REDIS_RL_MODULE names a file"));
    }
    let library = root.join(format!("target/release/{DLL_PREFIX}redis_rl{DLL_SUFFIX}"));
    assert!(
        library.exists() && newest(&library) >= newest(&root.join("src")),
        "{} is missing or older than the source: run `cargo build --release`",
        library.display()
    );
    without_spaces(library)
}

/// Returns the library under a path without spaces: servers write its path into their configuration
/// without quotes.
fn without_spaces(library: PathBuf) -> PathBuf {
    if !library.to_string_lossy().contains(' ') {
        return library;
    }
    let name = format!("redis-rl-{}{DLL_SUFFIX}", std::process::id());
    let link = std::env::temp_dir().join(name);
    // Another thread may have made the link.
    let _ = std::os::unix::fs::symlink(&library, &link);
    assert_eq!(fs::canonicalize(&link).ok(), fs::canonicalize(library).ok());
    link
}

/// Returns the repository's folder; its tests are in more than one package.
///
/// # Panics
/// No folder above this package holds a Cargo.lock.
pub fn root() -> &'static Path {
    let mut above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let root = above.find(|folder| folder.join("Cargo.lock").exists());
    root.expect("a folder with a Cargo.lock")
}

/// Returns the modification time of the file, or of the newest file below the folder. Pages (README
/// files) do not affect the library.
fn newest(path: &Path) -> SystemTime {
    if let Ok(entries) = fs::read_dir(path) {
        let times = entries.map(|entry| newest(&entry.expect("a folder that can be read").path()));
        return times.max().unwrap_or(SystemTime::UNIX_EPOCH);
    }
    if path.extension().is_some_and(|extension| extension == "md") {
        return SystemTime::UNIX_EPOCH;
    }
    let about = fs::metadata(path).expect("a file that can be read");
    about.modified().expect("a time of change")
}
