//! Alerts and dashboard, in a real Prometheus.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

use crate::common::{free_port, root, wait_until, Server};
use crate::driver::{call, send, Demo, Exporter, Folder, Running};

/// Only the first of three stores has a demo. The second is scraped by `demo metrics`, the third by
/// redis_exporter.
#[test]
fn prometheus_shows_every_panel_and_fires_exactly_the_right_alerts() {
    let [mut one, mut two, mut three] = [Server::start(), Server::start(), Server::start()];
    let every_kind = [
        ["--key-by", "plain-header:X-Api-Key"],
        ["--limit", "1/d:2"],
        ["--window", "9 DAY"],
        ["--sliding", "9/1d"],
        ["--concurrent", "3"],
    ];
    let demo = Demo::connected(&one, &every_kind.concat());
    let exporter = Exporter::of(&[&format!("two={}", two.url())]);
    let redis_exporter = RedisExporter::of(&three);
    let prometheus = Prometheus::of(&demo, &exporter, &redis_exporter);
    let first = format!("127.0.0.1:{}", one.port());
    let stores = BTreeSet::from([first.clone(), "two".to_owned(), "three".to_owned()]);
    let (urls, enough) = ([two.url(), three.url()], AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            until_enough(&enough, |i| {
                let ask = |caller: &str| {
                    demo.get_with(format!("X-Api-Key: {caller}\r\n").as_bytes());
                };
                ask(["ann", "bob", "eve", "eve"][i % 4]);
                // A new caller now and then, so that something is allowed as well.
                ask(&format!("new-{i}"));
            })
        });
        scope.spawn(|| {
            let mut connections = urls.each_ref().map(|url| {
                let client = redis::Client::open(url.as_str()).expect("an address");
                client.get_connection().ok()
            });
            // The second store denies four of five takes, the third one of two.
            until_enough(&enough, |i| {
                for (connection, old) in connections.iter_mut().zip([4, 1]) {
                    let keys = (0..old).map(|_| "old".to_owned());
                    for key in keys.chain([format!("new-{i}")]) {
                        let mut take = redis::cmd("RL.TAKE");
                        take.arg(key).arg("1/d").arg("1");
                        // Without memory, or without a server, it fails.
                        if let Some(connection) = connection {
                            let _ = take.query::<()>(connection);
                        }
                    }
                }
            });
        });
        let _traffic = Traffic(&enough);
        for query in panel_queries() {
            let shown = match metrics_in(&query).all(|metric| metric.starts_with("rl_")) {
                true => stores.clone(),
                false if query.contains("redis_up") => stores.clone(),
                false => BTreeSet::from([first.clone()]),
            };
            prometheus.wait_for_stores(&query, &shown);
        }
        let rules = prometheus.get("/api/v1/rules");
        let rules = rules["data"]["groups"][0]["rules"].as_array();
        let rules = rules.expect("rules").iter();
        assert!(
            rules.clone().all(|rule| rule["health"] != "err"),
            "{rules:?}"
        );
        for metric in rules.flat_map(|rule| {
            let query = rule["query"].as_str().expect("a query");
            metrics_in(query).map(str::to_owned).collect::<Vec<_>>()
        }) {
            prometheus.wait_for_data(&metric);
        }

        let first = first.as_str();
        prometheus.wait_for_alerts(&[("ManyDenied", "two")]);
        call::<()>(&two, &["CONFIG", "SET", "maxmemory", "1"]);
        prometheus.wait_for_alerts(&[("ManyDenied", "two"), ("OutOfMemory", "two")]);
        two.kill();
        prometheus.wait_for_alerts(&[("RedisUnreachable", "two")]);
        three.kill();
        prometheus.wait_for_alerts(&[("RedisUnreachable", "two"), ("RedisUnreachable", "three")]);
        one.kill();
        prometheus.wait_for_alerts(&[
            ("NotLimiting", first),
            ("RedisUnreachable", first),
            ("RedisUnreachable", "two"),
            ("RedisUnreachable", "three"),
        ]);
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

fn until_enough(enough: &AtomicBool, mut step: impl FnMut(usize)) {
    for i in 0.. {
        if enough.load(Ordering::Relaxed) {
            return;
        }
        step(i);
    }
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

/// Ends the traffic when dropped, so that a failing test ends at once.
struct Traffic<'a>(&'a AtomicBool);

impl Drop for Traffic<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Returns the names of the metrics in a query.
fn metrics_in(query: &str) -> impl Iterator<Item = &str> {
    let words = query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| {
        let starts = ["rl_", "demo_", "redis_"];
        starts.iter().any(|start| word.starts_with(start))
    })
}

/// Debian's redis_exporter, with our script.
struct RedisExporter {
    _process: Running,
    port: u16,
}

impl RedisExporter {
    fn of(store: &Server) -> Self {
        let port = free_port();
        let mut command = Command::new("prometheus-redis-exporter");
        command.args(["-redis.addr", &store.url()]);
        command.args(["-script", &grafana("redis_exporter.lua")]);
        command.args(["-web.listen-address", &format!("127.0.0.1:{port}")]);
        let missing = "prometheus-redis-exporter: run scripts/setup.sh prometheus";
        let process = Running(quiet(&mut command).spawn().expect(missing));
        wait_for_listener(port);
        Self {
            _process: process,
            port,
        }
    }
}

fn quiet(command: &mut Command) -> &mut Command {
    let command = command.stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(Stdio::null())
}

fn wait_for_listener(port: u16) {
    wait_until("somebody listens", || {
        TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
}

/// A Prometheus with our configuration, in seconds instead of minutes.
struct Prometheus {
    _process: Running,
    _folder: Folder,
    port: u16,
}

impl Prometheus {
    fn of(demo: &Demo, exporter: &Exporter, redis_exporter: &RedisExporter) -> Self {
        let folder = Folder::new("prometheus");
        let read = |name| fs::read_to_string(grafana(name)).expect("a file");
        let mut settings = read("prometheus.yml").replace("15s", "1s");
        for (target, port) in [
            ("demo:8081", demo.admin),
            ("metrics:9122", exporter.port),
            ("exporter:9121", redis_exporter.port),
        ] {
            assert!(settings.contains(target), "{target}");
            settings = settings.replace(target, &format!("127.0.0.1:{port}"));
        }
        let settings = settings.replace("store: limits", "store: three");
        let mut alerts = read("alerts.yml").replace("[5m]", "[5s]");
        // A busy machine is slow, too.
        for (from, to) in [("[1m]", "[5s]"), ("for: 1m", "for: 0s"), ("> 0.02", "> 20")] {
            assert!(alerts.contains(from), "{from}");
            alerts = alerts.replace(from, to);
        }
        let alerts = alerts
            .replace("for: 5m", "for: 0s")
            .replace("for: 10m", "for: 0s");
        fs::write(folder.file("alerts.yml"), alerts).expect("a file");
        let file = folder.file("prometheus.yml");
        fs::write(&file, settings).expect("a file");
        let port = free_port();
        let mut command = Command::new("prometheus");
        command.arg(format!("--config.file={file}"));
        command.arg(format!("--storage.tsdb.path={}", folder.file("data")));
        command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
        let missing = "prometheus: run scripts/setup.sh prometheus";
        let process = Running(quiet(&mut command).spawn().expect(missing));
        wait_for_listener(port);
        wait_until("Prometheus is ready", || {
            send(port, "GET /-/ready", b"").status() == 200
        });
        Self {
            _process: process,
            _folder: folder,
            port,
        }
    }

    fn get(&self, path: &str) -> Value {
        let answer = send(self.port, &format!("GET {path}"), b"");
        serde_json::from_str(answer.body()).expect("JSON")
    }

    /// Returns the series of a query, or nothing if one of them is not a number.
    fn query(&self, query: &str) -> Vec<Value> {
        let answer = self.get(&format!("/api/v1/query?query={}", encoded(query)));
        let series = answer["data"]["result"].as_array().expect("a result");
        let number = |sample: &Value| sample["value"][1].as_str().is_some_and(|n| n != "NaN");
        match series.iter().all(number) {
            true => series.clone(),
            false => Vec::new(),
        }
    }

    fn wait_for_data(&self, query: &str) {
        wait_until(&format!("there is data for {query}"), || {
            !self.query(query).is_empty()
        });
    }

    /// Waits until the query has data of exactly these stores.
    fn wait_for_stores(&self, query: &str, stores: &BTreeSet<String>) {
        wait_until(&format!("{stores:?} have data for {query}"), || {
            let series = self.query(query);
            let found = series.iter().map(|one| label(one, "store"));
            found.collect::<BTreeSet<_>>() == *stores
        });
    }

    /// Waits until exactly these alerts fire, each for its store.
    fn wait_for_alerts(&self, expected: &[(&str, &str)]) {
        let owned = |(name, store): &(&str, &str)| ((*name).to_owned(), (*store).to_owned());
        let expected: BTreeSet<_> = expected.iter().map(owned).collect();
        wait_until(&format!("exactly {expected:?} fire"), || {
            let alerts = self.query("ALERTS{alertstate=\"firing\"}");
            let alerts = alerts.iter();
            let found = alerts.map(|one| (label(one, "alertname"), label(one, "store")));
            found.collect::<BTreeSet<_>>() == expected
        });
    }
}

fn label(series: &Value, name: &str) -> String {
    series["metric"][name]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
