//! Every command of the operators' page, on a real server.

use std::fs;
use std::process::Command;

use crate::common::{root, Server};
use crate::driver::call;

/// Returns the lines of code that follow `question` on the page, up to the next paragraph in bold or
/// heading.
fn answers(page: &str, question: &str) -> String {
    let (_, rest) = page
        .split_once(question)
        .unwrap_or_else(|| panic!("no {question}"));
    let end = rest.find("\n**").unwrap_or(rest.len());
    let end = end.min(rest.find("\n## ").unwrap_or(end));
    let lines = rest[..end].lines();
    let code: Vec<_> = lines.filter_map(|line| line.strip_prefix("    ")).collect();
    assert!(!code.is_empty(), "{question}");
    code.join("\n")
}

/// Runs lines in a shell in which `redis-cli` asks this server.
fn run(server: &Server, lines: &str) -> String {
    let text = run_as(server, "", lines);
    for error in ["ERR", "WRONGTYPE", "NOPERM", "Could not connect"] {
        assert!(!text.contains(error), "{lines}\n{text}");
    }
    text
}

/// The same with these options of redis-cli, but errors are allowed.
fn run_as(server: &Server, options: &str, lines: &str) -> String {
    let folder = server.dir().join("bin");
    fs::create_dir_all(&folder).expect("a folder");
    let script =
        "#!/bin/sh\nexec /usr/bin/env PATH=\"$OWN_PATH\" redis-cli -p \"$PORT\" $OPTIONS \"$@\"\n";
    let program = folder.join("redis-cli");
    fs::write(&program, script).expect("a script");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&program, mode).expect("a program");
    let path = std::env::var("PATH").expect("a path");
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", lines])
        .env("OWN_PATH", &path)
        .env("PATH", format!("{}:{path}", folder.display()))
        .env("PORT", server.port().to_string())
        .env("OPTIONS", options)
        .output()
        .expect("bash");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{lines}\n{output:?}");
    text
}

#[test]
fn each_command_of_the_operators_page_answers_its_question() {
    let page = root().join("scripts/grafana/README.md");
    let page = fs::read_to_string(page).expect("the page");
    let server = Server::start();
    let with_limits = || {
        call::<()>(&server, &["FLUSHALL"]);
        call::<()>(
            &server,
            &["RL.TAKE", "user:42:rps", "1/d", "5", "COST", "7", "FORCE"],
        );
        call::<()>(
            &server,
            &["RL.WTAKE", "user:42:day", "1000", "30d", "COST", "3"],
        );
        call::<()>(
            &server,
            &["RL.ACQUIRE", "user:42:jobs", "5", "1h", "req-81f"],
        );
        call::<()>(&server, &["RL.TAKE", "user:7:rps", "1/d", "5"]);
        let hold = "RL.ALL 2 user:42:tokens user:42:holds BUCKET 9/d 9 COST 5 HOLD 1h req-9";
        call::<redis::Value>(&server, &hold.split(' ').collect::<Vec<_>>());
    };
    with_limits();
    for _ in 0..3 {
        call::<()>(&server, &["RL.WTAKE", "user:42:day", "1", "DAY"]);
    }
    call::<()>(&server, &["RL.TAKE", "user:42:rps", "1/d", "5"]);
    for (question, expected) in [
        ("**Which limit denies most?**", "3 day\n1 rps\n"),
        (
            "**Which limit denies most?**",
            "rl_window_takes_denied:3\r\n",
        ),
        ("**Who is limited now?**", "user:42:day\n3\n0\n"),
        (
            "**What does this key hold?**",
            "kind\nbucket\nbytes\n16\nttl_ms\n",
        ),
        ("**What does this key hold?**", "tokens\n-2\n"),
        ("**How full is it?**", "1000\n997\n"),
        ("**How full is it?**", "req-81f\n"),
        ("**Which estimates are overdue?**", "req-9\n"),
        ("**Is Redis away?**", "PONG\nname\nrl\n"),
        ("**Is the limiter slow?**", "cmdstat_RL.TAKE:calls="),
        ("**Did anything fail open?**", "rl_errors_memory:0"),
        ("**Which keys use the memory?**", " 2 user:…:rps\n"),
        ("**Which keys use the memory?**", "\nBiggest"),
        (
            "**List and count everything under a prefix:**",
            "user:42:jobs\n",
        ),
        ("**List and count everything under a prefix:**", "\n5\n"),
        (
            "**What each of them holds:**",
            "user:42:day\nkind\nwindow\n",
        ),
        ("**Who owes?**", "user:42:rps -2\n"),
        ("**How do I reset it?**", "1\n1\n"),
        ("**Reset everything under a prefix.**", "5\n"),
    ] {
        if !question.contains("denies") && !question.contains("limited") {
            with_limits();
        }
        let text = run(&server, &answers(&page, question));
        assert!(text.contains(expected), "{question}\n{text}");
    }
    let left: Vec<String> = call(&server, &["KEYS", "*"]);
    assert_eq!(left, ["user:7:rps"]);
}

/// Every reading question works for the page's viewer, and a reset only for its operator.
#[test]
fn each_user_of_the_operators_page_may_do_what_it_is_for() {
    let page = root().join("scripts/grafana/README.md");
    let page = fs::read_to_string(page).expect("the page");
    let server = Server::start();
    let users = answers(&page, "## Users");
    assert_eq!(run(&server, &users), "OK\nOK\nOK\n");
    let as_user = |user: &str, lines: &str| {
        let options = format!("--user {user} --pass secret --no-auth-warning");
        run_as(&server, &options, lines)
    };
    call::<()>(&server, &["RL.TAKE", "user:42:rps", "1/d", "5"]);
    let (_, questions) = page.split_once("## Questions").expect("a heading");
    let (questions, _) = questions.split_once("## Users").expect("a heading");
    let mut asked = 0;
    for question in questions.lines().filter(|line| line.starts_with("**")) {
        if !question.to_lowercase().contains("reset") {
            let text = as_user("viewer", &answers(&page, question));
            assert!(!text.contains("NOPERM"), "{question}\n{text}");
            asked += 1;
        }
    }
    assert!(asked > 8, "{asked}");
    assert!(as_user("metrics", "redis-cli INFO rl; redis-cli RL.TOP").contains("rl_version"));
    for refused in [
        "RL.TAKE user:42:rps 1/d 5",
        "UNLINK user:42:rps",
        "GET user:42:rps",
    ] {
        for user in ["metrics", "viewer"] {
            let text = as_user(user, &format!("redis-cli {refused}"));
            assert!(text.contains("NOPERM"), "{user}: {refused}: {text}");
        }
    }
    let reset = as_user("operator", &answers(&page, "**How do I reset it?**"));
    assert_eq!(reset, "1\n0\n");
}
