//! Real clients in other languages.

use std::path::Path;
use std::process::Command;

use crate::common::{root, Launch};

/// Runs a script of tests/clients against a server of its own.
fn passes(program: &Path, script: &str) {
    let root = root();
    let server = Launch::default().module_arguments(&["CL.THROTTLE"]).start();
    let output = Command::new(program)
        .arg(root.join("tests/clients").join(script))
        .arg(server.port().to_string())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("CLIENTS", root.join("target/clients/node/"))
        .output()
        .unwrap_or_else(|error| {
            panic!(
                "{}: {error}; run scripts/setup.sh clients",
                program.display()
            )
        });
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{script} failed (scripts/setup.sh clients installs what it needs):\n{}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
}

#[test]
fn redis_py() {
    let python = root().join("target/clients/py/bin/python");
    passes(&python, "redis_py.py");
}

#[test]
fn node_redis() {
    passes(Path::new("node"), "node_redis.mjs");
}
