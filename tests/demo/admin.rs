//! The operators' pages and their access control.

use std::collections::HashSet;
use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

use crate::common::{free_port, root, until, wait_until, Server};
use crate::driver::{call, keys, send, Demo, Folder, Running};

const LIMITS: &str = "--key-by plain-header:X-Api-Key --rate 1/d --burst 2";

fn ask(demo: &Demo, caller: &str) -> u16 {
    demo.get_with(format!("X-Api-Key: {caller}\r\n").as_bytes())
        .status()
}

#[test]
fn metrics_count_requests_and_promtool_accepts_them() {
    let mut redis = Server::start();
    let demo = Demo::with(&redis, LIMITS);
    demo.wait_for_log("Connected");
    for caller in ["ann", "eve", "eve", "eve", "eve", "bob", "bob", "bob"] {
        ask(&demo, caller);
    }
    let expected = [
        "demo_requests_total{outcome=\"allowed\"} 5",
        "demo_requests_total{outcome=\"refused\"} 3",
        "demo_take_duration_seconds_count 8",
        "demo_redis_up 1",
        "rl_takes_allowed_total 5",
        "rl_takes_denied_total 3",
        "rl_tokens_taken_total 5",
        "rl_buckets_created_total 3",
        "rl_top_denials{rank=\"1\"} 2",
        "rl_top_denials{rank=\"2\"} 1",
    ];
    // Values that Redis does not return in time are omitted.
    let text = until("everything is told", || {
        let text = demo.metrics();
        let told = |line: &&str| text.lines().any(|l| l == *line);
        expected.iter().all(told).then_some(text)
    });
    promtool(&["check", "metrics"], &text);
    redis.kill();
    ask(&demo, "ann");
    wait_until("Redis counts as down", || {
        demo.metrics().contains("demo_redis_up 0\n")
    });
    assert!(demo
        .metrics()
        .contains("demo_requests_total{outcome=\"failed_open\"} 1\n"));
}

#[test]
fn a_real_prometheus_gets_data_for_every_panel_and_alert() {
    let mut redis = Server::start();
    let every_kind = [
        ["--key-by", "plain-header:X-Api-Key"],
        ["--limit", "1/d:2"],
        ["--window", "9 DAY"],
        ["--sliding", "9/1d"],
        ["--concurrent", "3"],
    ];
    let demo = Demo::connected(&redis, &every_kind.concat());
    let prometheus = Prometheus::of(&demo);
    let enough = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // However fast it goes, there is traffic until the last query has its data.
            for i in 0.. {
                if enough.load(Ordering::Relaxed) {
                    break;
                }
                ask(&demo, ["ann", "bob", "eve", "eve"][i % 4]);
                // A new caller now and then, so that something is allowed as well.
                ask(&demo, &format!("new-{i}"));
            }
        });
        let _traffic = Traffic(&enough);
        let panels = panel_queries();
        let rules = prometheus.get("/api/v1/rules");
        let rules = rules["data"]["groups"][0]["rules"]
            .as_array()
            .expect("rules")
            .clone();
        assert_eq!(rules.len(), 6);
        assert!(
            rules.iter().all(|rule| rule["health"] != "err"),
            "{rules:?}"
        );
        // With `bool` a comparison returns 0 instead of nothing if it does not hold.
        let conditions = rules.iter().map(|rule| {
            let query = rule["query"].as_str().expect("a query");
            query
                .replace(" > ", " > bool ")
                .replace(" == ", " == bool ")
        });
        let queries: Vec<_> = panels.into_iter().chain(conditions).collect();
        // Tested alone, because `or vector(0)` has a result whether or not the metric exists.
        for metric in queries.iter().flat_map(|query| metrics_in(query)) {
            prometheus.wait_for_data(metric);
        }
        for query in &queries {
            prometheus.wait_for_data(query);
        }
        promtool(&["check", "metrics"], &demo.metrics());
        redis.kill();
        for alert in ["RedisUnreachable", "NotLimiting"] {
            prometheus.wait_for_data(&format!("ALERTS{{alertname=\"{alert}\"}}"));
        }
    });
}

#[test]
fn each_alert_names_exactly_the_store_that_is_not_healthy() {
    let cases = root().join("tests/demo/alerts.yml");
    promtool(&["check", "rules", &grafana("alerts.yml")], "");
    promtool(
        &["test", "rules", cases.to_str().expect("a plain path")],
        "",
    );
}

#[test]
fn only_a_limit_of_the_limiter_can_be_reset() {
    let redis = Server::start();
    let demo = Demo::with(&redis, LIMITS);
    demo.wait_for_log("Connected");
    let post = |what: &str, asked: &str| {
        let own = format!(
            "Origin: http://localhost\r\nContent-Length: {}",
            asked.len()
        );
        let body = format!("{own}\r\n\r\n{asked}");
        send(
            demo.admin,
            &format!("POST /dashboard/{what}"),
            body.as_bytes(),
        )
        .status()
    };
    let reset = |caller: &str| post("reset", caller);
    call::<()>(&redis, &["SET", "precious", "data"]);
    for _ in 0..3 {
        ask(&demo, "eve");
    }
    for foreign in ["", "precious", "{rate:limiter:key:eve}"] {
        assert_eq!(reset(foreign), 404, "{foreign}");
        assert_eq!(post("look", &format!("caller:{foreign}")), 404, "{foreign}");
    }
    assert_eq!(post("look", "nonsense"), 404);
    assert_eq!(keys(&redis), ["precious", "rate:limiter:key:eve"]);
    // A key with the prefix that is not a limit is left unchanged.
    call::<()>(&redis, &["SET", "rate:limiter:key:ann", "data"]);
    call::<()>(&redis, &["RPUSH", "rate:limiter:key:bob", "data"]);
    for caller in ["ann", "bob"] {
        let refused = reset(&format!("rate:limiter:key:{caller}"));
        assert_eq!(refused, 502, "{caller}");
    }
    assert_eq!(
        call::<u64>(
            &redis,
            &["EXISTS", "rate:limiter:key:ann", "rate:limiter:key:bob"]
        ),
        2
    );
    call::<()>(
        &redis,
        &["DEL", "rate:limiter:key:ann", "rate:limiter:key:bob"],
    );
    assert_eq!(reset("rate:limiter:key:eve"), 204);
    assert_eq!(keys(&redis), ["precious"]);
    assert_eq!(ask(&demo, "eve"), 200);
}

/// No Grafana is available for tests; these are the mistakes that it would display wrongly, or not
/// at all.
#[test]
fn each_panel_describes_itself_is_by_store_and_overlaps_no_other() {
    let dashboard = fs::read_to_string(grafana("dashboard.json")).expect("a dashboard");
    let dashboard: Value = serde_json::from_str(&dashboard).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let mut ids = HashSet::new();
    let mut places = HashSet::new();
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().expect("an id")), "{panel}");
        let number = |of: &Value, field: &str| of[field].as_u64().expect("a number");
        let place = &panel["gridPos"];
        let (x, y) = (number(place, "x"), number(place, "y"));
        let (w, h) = (number(place, "w"), number(place, "h"));
        assert!(x + w <= 24, "{panel}");
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(places.insert(cell), "{} lies on another", panel["title"]);
        }
        let says = |of: &Value| of.as_str().is_some_and(|text| !text.is_empty());
        assert!(says(&panel["title"]), "{panel}");
        if panel["type"] == "row" {
            continue;
        }
        assert!(says(&panel["description"]), "{}", panel["title"]);
        assert!(
            says(&panel["fieldConfig"]["defaults"]["unit"]),
            "{}",
            panel["title"]
        );
        let mut refs = HashSet::new();
        for target in panel["targets"].as_array().expect("targets") {
            assert!(refs.insert(target["refId"].as_str().expect("a name")));
            assert_eq!(target["datasource"]["uid"], "${datasource}");
            assert_is_by_store(target["expr"].as_str().expect("a query"));
        }
        assert_eq!(panel["datasource"]["uid"], "${datasource}");
    }
    let variables = dashboard["templating"]["list"].as_array();
    let variables = variables.expect("variables").iter();
    let names: Vec<_> = variables.map(|variable| &variable["name"]).collect();
    assert_eq!(names, ["datasource", "store"]);
}

/// A dashboard that mixes servers shows what happens on none of them.
fn assert_is_by_store(query: &str) {
    let selectors = query.split('{').skip(1);
    assert!(selectors.clone().count() > 0, "{query}");
    for selector in selectors {
        let (labels, _) = selector.split_once('}').expect("a closing brace");
        assert!(labels.contains("store=~\"$store\""), "{query}");
    }
    for aggregation in query.split("by (").skip(1) {
        assert!(aggregation.starts_with("store"), "{query}");
    }
    assert!(query.contains("by (store"), "{query}");
}

pub fn promtool(arguments: &[&str], input: &str) {
    let mut promtool = Command::new("promtool");
    promtool
        .args(arguments)
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .stdout(Stdio::piped());
    let mut promtool = promtool
        .spawn()
        .expect("promtool: run scripts/setup.sh prometheus");
    let mut stdin = promtool.stdin.take().expect("a pipe");
    stdin.write_all(input.as_bytes()).expect("promtool reads");
    drop(stdin);
    let output = promtool.wait_with_output().expect("promtool ends");
    assert!(output.status.success(), "{output:?}");
}

fn grafana(name: &str) -> String {
    let folder = root().join("scripts/grafana");
    folder.join(name).to_str().expect("a plain path").to_owned()
}

/// Returns every query of the dashboard, as Grafana would send it.
fn panel_queries() -> Vec<String> {
    let dashboard = fs::read_to_string(grafana("dashboard.json")).expect("a dashboard");
    let dashboard: Value = serde_json::from_str(&dashboard).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels").iter();
    let targets = panels
        .filter_map(|panel| panel["targets"].as_array())
        .flatten();
    let queries = targets.map(|target| target["expr"].as_str().expect("a query"));
    let queries: Vec<_> = queries
        .map(|query| {
            query
                .replace("$__rate_interval", "5s")
                .replace("$store", ".*")
        })
        .collect();
    assert!(queries.len() > 10 && queries.iter().all(|query| !query.contains('$')));
    queries
}

/// There is traffic for as long as this lives, so that a test that fails does so at once.
struct Traffic<'a>(&'a AtomicBool);

impl Drop for Traffic<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Returns the names of the metrics in a query.
fn metrics_in(query: &str) -> impl Iterator<Item = &str> {
    let words = query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    // The demo reports its own connection, `demo_redis_up`.
    let words = words.filter(|&word| word != "rl_up");
    words.filter(|word| word.starts_with("rl_") || word.starts_with("demo_"))
}

/// A Prometheus that scrapes one demo every second and evaluates the alerts.
struct Prometheus {
    _process: Running,
    _folder: Folder,
    port: u16,
}

impl Prometheus {
    fn of(demo: &Demo) -> Self {
        let folder = Folder::new("prometheus");
        let alerts = grafana("alerts.yml");
        let settings = format!(
            "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\n\
             rule_files: ['{alerts}']\n\
             scrape_configs:\n\
             - job_name: demo\n  static_configs: [{{ targets: ['127.0.0.1:{}'] }}]\n",
            demo.admin
        );
        let file = folder.file("prometheus.yml");
        fs::write(&file, settings).expect("a file");
        let port = free_port();
        let mut command = Command::new("prometheus");
        command.arg(format!("--config.file={file}"));
        command.arg(format!("--storage.tsdb.path={}", folder.file("data")));
        command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let process = command
            .spawn()
            .expect("prometheus: run scripts/setup.sh prometheus");
        let listens = || TcpStream::connect(("127.0.0.1", port)).is_ok();
        wait_until("Prometheus is ready", || {
            listens() && send(port, "GET /-/ready", b"").status() == 200
        });
        Self {
            _process: Running(process),
            _folder: folder,
            port,
        }
    }

    fn get(&self, path: &str) -> Value {
        let answer = send(self.port, &format!("GET {path}"), b"");
        serde_json::from_str(answer.body()).expect("JSON")
    }

    /// Waits until the query has a result, and numbers in it.
    fn wait_for_data(&self, query: &str) {
        wait_until(&format!("there is data for {query}"), || {
            let answer = self.get(&format!("/api/v1/query?query={}", encoded(query)));
            let series = answer["data"]["result"].as_array().expect("a result");
            let number = |sample: &Value| sample["value"][1].as_str().is_some_and(|n| n != "NaN");
            !series.is_empty() && series.iter().all(number)
        });
    }
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[test]
fn dashboard_describes_each_limit() {
    let redis = Server::start();
    let limits = [
        ["--limit", "100/m:20"],
        ["--window", "1000 DAY OFFSET +02:00"],
        ["--window", "5 15m"],
        ["--sliding", "60/1m"],
        ["--concurrent", "8"],
    ];
    let demo = Demo::connected(&redis, &limits.concat());
    let words = [
        "100 requests per minute on average, 20 at once",
        "1000 requests per calendar day OFFSET +02:00",
        "5 requests per 15m",
        "60 requests in any 1m",
        "8 requests at once",
    ];
    let told = crate::stores::snapshot(&demo);
    let limits = told["limits"].as_array().expect("limits");
    let told: Vec<_> = limits.iter().map(|limit| &limit["words"]).collect();
    assert_eq!(told, words);
}
