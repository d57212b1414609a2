//! Every kind of `--redis`, through the loss of a master where there is another to take over.

use std::process::{Command, Stdio};

use crate::common::{free_port, wait_until, Launch, Server};
use crate::driver::{call, command, metrics, refusal_of, Demo, Exporter, Folder, Running, PATIENT};

#[test]
fn tls_works_and_certificates_are_checked() {
    let folder = Folder::new("tls");
    let certificate = certificate(&folder);
    let port = free_port().to_string();
    let tls = [
        "--tls-port",
        &port,
        "--tls-auth-clients",
        "no",
        "--tls-cert-file",
        &certificate,
    ];
    let files = [
        "--tls-key-file",
        &certificate,
        "--tls-ca-cert-file",
        &certificate,
    ];
    let redis = Launch::default().with(&tls).with(&files).start();
    call::<()>(&redis, &["CONFIG", "SET", "requirepass", "s3cret"]);
    let flags = format!("--redis rediss://:s3cret@127.0.0.1:{port} {ONE_A_DAY}");
    let demo = Demo::start_in(&flags, &[("SSL_CERT_FILE", &certificate)]);
    wait_for_refusal(&demo, "");
    let stranger = Demo::start(&flags);
    stranger.wait_for_log("certificate");
    assert_eq!(stranger.get().status(), 503);
}

#[test]
fn requests_are_limited_through_a_sentinel_failover() {
    let folder = Folder::new("sentinel");
    let mut master = Server::start();
    let address = format!("127.0.0.1 {}", master.port());
    let _replica = Server::with(&["--replicaof", &address]);
    wait_until("there is a replica", || info(&master, "connected_slaves:1"));
    let sentinels: Vec<_> = (0..3).map(|_| Sentinel::of(&master, &folder)).collect();
    for sentinel in &sentinels {
        wait_until("the sentinels know each other", || {
            sentinel.info().contains("slaves=1,sentinels=3")
        });
    }
    let hosts: Vec<_> = sentinels.iter().map(Sentinel::host).collect();
    let url = format!("redis-sentinel://{}/mymaster", hosts.join(","));
    let demo = Demo::start(&format!("--redis {url} {ONE_A_DAY}"));
    wait_for_refusal(&demo, "");
    let exporter = Exporter::of(&[&format!("eu={url}")]);
    exporter.wait_for("rl_takes_allowed_total{store=\"eu\"} 1");
    sentinels.iter().for_each(Sentinel::lose_patience);
    master.kill();
    demo.wait_for_log("lost the connection");
    wait_for_refusal(&demo, "");
    exporter.wait_for("rl_up{store=\"eu\"} 1");
    master.restart();
    wait_for_refusal(&demo, "");
}

#[test]
fn sentinels_may_have_their_own_password() {
    let folder = Folder::new("guarded");
    let master = Server::start();
    call::<()>(&master, &["CONFIG", "SET", "requirepass", "m@ster"]);
    let sentinel = Sentinel::with(
        &master,
        &folder,
        "requirepass s:cret\nsentinel auth-pass mymaster m@ster\n",
    );
    let host = sentinel.host();
    let url = |query| format!("redis-sentinel://:m%40ster@{host}/mymaster{query}");
    let demo = Demo::start(&format!(
        "--redis {}?sentinel_password=s%3Acret {ONE_A_DAY}",
        url("")
    ));
    wait_for_refusal(&demo, "");
    let named = url("?sentinel_username=default&sentinel_password=s%3Acret");
    let demo = Demo::start(&format!("--redis {named} {ONE_A_DAY} --prefix named:"));
    wait_for_refusal(&demo, "");
    let stranger = Demo::start(&format!("--redis {} {ONE_A_DAY}", url("")));
    stranger.wait_for_log("no connection to Redis: ");
}

#[test]
fn redis_url_is_read_from_the_environment() {
    let redis = Server::start();
    call::<()>(&redis, &["CONFIG", "SET", "requirepass", "s3cret"]);
    let url = format!("redis://:s3cret@127.0.0.1:{}", redis.port());
    let demo = Demo::start_in(ONE_A_DAY, &[("REDIS_URL", &url)]);
    wait_for_refusal(&demo, "");
    let size = redis::cmd("DBSIZE").query(
        &mut redis::Client::open(url.as_str())
            .and_then(|c| c.get_connection())
            .expect("the password"),
    );
    assert_eq!(size, Ok(1));
    let id = demo.process.0.id();
    let seen = std::fs::read_to_string(format!("/proc/{id}/cmdline")).expect("arguments");
    assert!(!seen.contains("s3cret"), "{seen}");
    // Options take precedence, and an empty variable counts as unset.
    let other = Server::start();
    let typed = format!("--redis {} {ONE_A_DAY}", other.url());
    wait_for_refusal(&Demo::start_in(&typed, &[("REDIS_URL", &url)]), "");
    assert_eq!(crate::driver::keys(&other), ["rate:limiter:test-client"]);
    let mut none = command(&[]);
    let said = refusal_of(none.env("REDIS_URL", ""), &[]);
    assert!(
        said.contains("--redis URL or --store memory is needed"),
        "{said}"
    );
}

#[test]
fn unix_sockets_work() {
    let folder = Folder::new("socket");
    let path = folder.file("redis.sock");
    let redis = Server::with(&["--unixsocket", &path]);
    call::<()>(&redis, &["CONFIG", "SET", "requirepass", "s3cret"]);
    let demo = Demo::start(&format!(
        "--redis unix://{path}?pass=s3cret&db=3 {ONE_A_DAY}"
    ));
    wait_for_refusal(&demo, "");
}

#[test]
fn requests_are_limited_through_a_cluster_failover() {
    let mut nodes = cluster();
    let hosts: Vec<_> = nodes.iter().take(3).map(host).collect();
    let flags = format!("--redis redis-cluster://{} {PATIENT}", hosts.join(","));
    let flags = format!("{flags} --fail closed --key-by plain-header:X-Api-Key --limit 1/d:1");
    let one = Demo::start(&flags);
    let several = Demo::start(&format!("{flags} --limit 1/h:5 --prefix several:"));
    let callers: Vec<_> = (0..30).map(|i| format!("X-Api-Key: {i}\r\n")).collect();
    for demo in [&one, &several] {
        demo.wait_for_log("Connected");
        for caller in &callers {
            assert_eq!(demo.get_with(caller.as_bytes()).status(), 200, "{caller}");
            assert_eq!(demo.get_with(caller.as_bytes()).status(), 429, "{caller}");
        }
    }
    let exporter = Exporter::of(&[&format!("eu=redis-cluster://{}", hosts.join(","))]);
    for host in &hosts {
        let allowed = format!("rl_takes_allowed_total{{node=\"{host}\",store=\"eu\"}} ");
        wait_until(&format!("{host} is in the metrics"), || {
            metrics(exporter.port).contains(&allowed)
        });
    }
    for node in &nodes {
        call::<()>(node, &["CONFIG", "SET", "cluster-node-timeout", "1500"]);
    }
    nodes[0].kill();
    for demo in [&one, &several] {
        for caller in &callers {
            wait_for_refusal(demo, caller);
        }
        assert!(!demo.log().contains("CROSSSLOT"), "{}", demo.log());
    }
}

/// With `--fail closed` Redis denies, not the fallback in this process.
const ONE_A_DAY: &str = "--timeout 5000 --rate 1/d --burst 1 --fail closed";

fn wait_for_refusal(demo: &Demo, headers: &str) {
    wait_until("a request is refused", || {
        let status = demo.get_with(headers.as_bytes()).status();
        assert!([200, 429, 503].contains(&status), "{status}");
        status == 429
    });
}

fn run(program: &str, arguments: &[&str]) {
    let mut command = Command::new(program);
    let output = command.args(arguments).stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
}

/// Returns a file with a self-signed certificate for 127.0.0.1 and its key.
fn certificate(folder: &Folder) -> String {
    let file = folder.file("pair.pem");
    let request = "req -x509 -nodes -days 2 -subj /CN=test -newkey ec \
                   -pkeyopt ec_paramgen_curve:prime256v1 -addext subjectAltName=IP:127.0.0.1 \
                   -addext basicConstraints=critical,CA:FALSE";
    let mut arguments: Vec<_> = request.split_whitespace().collect();
    arguments.extend(["-keyout", &file, "-out", &file]);
    run("openssl", &arguments);
    file
}

fn info(server: &Server, line: &str) -> bool {
    call::<String>(server, &["INFO"]).contains(line)
}

fn host(server: &Server) -> String {
    format!("127.0.0.1:{}", server.port())
}

/// Starts three masters, then a replica of each.
fn cluster() -> Vec<Server> {
    // A busy machine's node is not to be taken for one that is gone.
    let patient = [
        "--cluster-enabled",
        "yes",
        "--cluster-node-timeout",
        "10000",
    ];
    let heirs = ["--cluster-replica-validity-factor", "0"];
    let launch = Launch::default().with(&patient).with(&heirs);
    let nodes: Vec<_> = (0..6).map(|_| launch.clone().start()).collect();
    let hosts: Vec<_> = nodes.iter().map(host).collect();
    let mut arguments = vec![
        "--cluster",
        "create",
        "--cluster-replicas",
        "1",
        "--cluster-yes",
    ];
    arguments.extend(hosts.iter().map(String::as_str));
    run("redis-cli", &arguments);
    for node in &nodes {
        wait_until("the cluster is whole", || {
            let master = info(node, "role:master") && info(node, "connected_slaves:1");
            let state: String = call(node, &["CLUSTER", "INFO"]);
            (master || info(node, "master_link_status:up")) && state.contains("cluster_state:ok")
        });
    }
    nodes
}

/// A process that watches a master.
struct Sentinel {
    _process: Running,
    port: u16,
}

impl Sentinel {
    fn of(master: &Server, folder: &Folder) -> Self {
        Self::with(master, folder, "")
    }

    /// Starts it with more settings.
    fn with(master: &Server, folder: &Folder, more: &str) -> Self {
        let port = free_port();
        let file = folder.file(&format!("{port}.conf"));
        let settings = format!(
            "port {port}\nbind 127.0.0.1\n\
             sentinel monitor mymaster 127.0.0.1 {} 2\n\
             sentinel down-after-milliseconds mymaster 30000\n\
             sentinel failover-timeout mymaster 3000\n{more}",
            master.port()
        );
        std::fs::write(&file, settings).expect("a file");
        let mut command = Command::new("redis-server");
        command
            .args([&file, "--sentinel"])
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let process = command.spawn().expect("a sentinel");
        Self {
            _process: Running(process),
            port,
        }
    }

    fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Returns its information; empty until it answers.
    fn info(&self) -> String {
        self.ask(&["INFO"]).unwrap_or_default()
    }

    /// Makes it declare the master down soon; before, it might only be on a busy machine.
    fn lose_patience(&self) {
        let soon = [
            "SENTINEL",
            "SET",
            "mymaster",
            "down-after-milliseconds",
            "1000",
        ];
        self.ask::<()>(&soon).expect("OK");
    }

    fn ask<T: redis::FromRedisValue>(&self, words: &[&str]) -> redis::RedisResult<T> {
        let client = redis::Client::open(("127.0.0.1", self.port))?;
        let mut command = redis::Cmd::new();
        command.arg(words).query(&mut client.get_connection()?)
    }
}
