//! Servers under valgrind's memcheck, if `REDIS_RL_VALGRIND` is set: `scripts/memcheck.sh`.
//!
//! The server allocates with its own allocator and the module with the system's; memcheck stands in
//! for both.

use std::fs;
use std::path::Path;
use std::process::Command;

/// Names of reports begin with this; the process id follows.
const REPORT: &str = "valgrind.";

/// Returns whether servers with the module run under valgrind.
pub fn is_on() -> bool {
    std::env::var_os("REDIS_RL_VALGRIND").is_some()
}

/// Returns whether servers report leaks when they end in the ordinary way: under valgrind, or with an address
/// sanitizer, which writes its reports itself.
pub fn finds_leaks() -> bool {
    is_on() || std::env::var_os("ASAN_OPTIONS").is_some()
}

/// Returns the command that runs a server's binary under valgrind, to report into its folder.
pub fn command(binary: &Path, dir: &Path) -> Command {
    let mut command = Command::new("valgrind");
    command
        .arg("--soname-synonyms=somalloc=*jemalloc*")
        .args(["--leak-check=full", "--show-leak-kinds=definite"])
        .args(["--keep-debuginfo=yes", "--num-callers=40"])
        .arg("--child-silent-after-fork=yes")
        .arg(format!("--log-file={}/{REPORT}%p", dir.display()))
        .arg(binary);
    command
}

/// Returns each error in the reports with the module on its stack.
pub fn errors(dir: &Path) -> Vec<String> {
    let files = fs::read_dir(dir).into_iter().flatten().flatten();
    let reports = files.filter(|file| file.file_name().to_string_lossy().starts_with(REPORT));
    let texts = reports.filter_map(|report| fs::read(report.path()).ok());
    let paragraphs = texts.flat_map(|text| {
        let text = String::from_utf8_lossy(&text).into_owned();
        // Lines begin with `==<process id>== `; an empty one separates two errors.
        let lines = text
            .lines()
            .map(|line| line.splitn(3, "==").last().unwrap_or_default());
        let lines: Vec<_> = lines.map(str::to_owned).collect();
        let split = lines.split(|line| line.trim().is_empty());
        split.map(|lines| lines.join("\n")).collect::<Vec<_>>()
    });
    let of_module = |text: &String| text.contains("redis_rl") && text.contains(" at 0x");
    paragraphs.filter(of_module).collect()
}
