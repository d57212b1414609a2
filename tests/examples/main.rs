//! Each example of scripts/examples, run as it is in its real framework: the same cases for all.

mod cases;
#[path = "../common/mod.rs"]
mod common;
mod example;
mod lease_workers;
mod model_gateway;

use example::Example;

#[test]
fn tower_limits_as_all_examples_do() {
    cases::hold(&mut Example::of(env!("CARGO_BIN_EXE_tower"), &[]));
}

/// The other packages run the applications of their READMEs themselves.
#[test]
fn tower_example_is_the_application_of_the_readme() {
    let text = |path: &str| {
        let text = std::fs::read_to_string(common::root().join(path));
        text.expect("a text")
    };
    let readme = text("scripts/clients/rust/README.md");
    let (_, code) = readme
        .split_once("```rust,no_run\n")
        .expect("an application");
    let (code, _) = code.split_once("```").expect("its end");
    let shown: Vec<_> = code
        .lines()
        .filter(|line| !line.starts_with("# "))
        .collect();
    assert!(shown.len() <= 10);
    // Only the formatter breaks them differently.
    let joined = |text: &str| text.split_whitespace().collect::<String>();
    assert!(joined(&text("scripts/examples/tower.rs")).contains(&joined(&shown.concat())));
}

#[test]
fn fastapi_limits_as_all_examples_do() {
    in_python("fastapi_limits.py");
}

#[test]
fn flask_limits_as_all_examples_do() {
    in_python("flask_limits.py");
}

#[test]
fn express_limits_as_all_examples_do() {
    in_node("express_limits.mjs");
}

#[test]
fn fastify_limits_as_all_examples_do() {
    in_node("fastify_limits.mjs");
}

fn in_python(script: &str) {
    let python = common::root().join("target/clients/py/bin/python");
    let script = format!("scripts/examples/{script}");
    cases::hold(&mut Example::of(python, &[&script]));
}

fn in_node(script: &str) {
    let script = example::beside_its_libraries(script);
    cases::hold(&mut Example::of("node", &[&script]));
}

#[test]
#[cfg(feature = "go")]
fn go_limits_as_all_examples_do() {
    cases::hold(&mut Example::of("target/examples/go/net_http", &[]));
}

#[test]
#[cfg(feature = "java")]
fn java_limits_as_all_examples_do() {
    let folder = "target/examples/java";
    let classes = format!("{folder}/classes:{folder}/lib/*");
    let base = format!("-Dcatalina.base={folder}/tomcat");
    cases::hold(&mut Example::of(
        "java",
        &[&base, "-cp", &classes, "ServletLimits"],
    ));
}

#[test]
fn a_worker_in_rust_holds_its_lease_as_all_workers_do() {
    lease_workers::hold(&[env!("CARGO_BIN_EXE_lease_worker")]);
}

#[test]
fn a_worker_in_python_holds_its_lease_as_all_workers_do() {
    let python = common::root().join("target/clients/py/bin/python");
    let script = common::root().join("scripts/examples/lease_worker.py");
    lease_workers::hold(&[python, script]);
}

#[test]
fn a_worker_in_node_holds_its_lease_as_all_workers_do() {
    let script = example::beside_its_libraries("lease_worker.mjs");
    lease_workers::hold(&["node", &script]);
}
