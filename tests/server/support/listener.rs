//! Another module in the same server, which hears of events.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// Its library, built if it has not been.
pub fn library() -> &'static str {
    static LIBRARY: OnceLock<String> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/server/support/listener.c");
        let name = format!("listener-{}.so", std::process::id());
        let library = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-o"])
            .args([&library, &PathBuf::from(source)])
            .status();
        assert!(built.expect("a C compiler").success());
        library.to_str().expect("a path that is text").to_owned()
    })
}
