//! Clients that mean harm, and a Redis that talks nonsense.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use crate::common::{wait_until, Server};
use crate::driver::{Demo, Response};

fn connect(demo: &Demo) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", demo.port)).expect("the demo listens");
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .expect("a time limit");
    stream
}

/// Returns everything received until the connection ends, in any way.
fn rest(mut stream: TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let end = stream.read_to_end(&mut bytes);
    let hang = end.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
    assert!(!hang, "the connection stays open");
    bytes
}

fn is_unharmed(demo: &Demo) {
    let log = demo.log();
    assert!(
        demo.get().status() == 200 && !log.contains("panicked"),
        "{log}"
    );
}

#[test]
fn slow_clients_are_disconnected_and_delay_nobody() {
    let redis = Server::start();
    let demo = Demo::with(&redis, "--rate 1000000 --burst 1000");
    demo.wait_for_log("Connected");
    let dawdlers: Vec<_> = (0..200)
        .map(|i| {
            let mut stream = connect(&demo);
            let begun = &b"GET / HTTP/1.1\r\nHost: demo\r\nX-Slow: "[..i % 37];
            stream.write_all(begun).expect("room for a few bytes");
            stream
        })
        .collect();
    for _ in 0..50 {
        assert_eq!(demo.get().status(), 200);
    }
    for dawdler in dawdlers {
        rest(dawdler);
    }
    is_unharmed(&demo);
}

#[test]
fn oversized_headers_are_refused() {
    let redis = Server::start();
    let demo = Demo::with(&redis, "--rate 1000000 --burst 1000");
    demo.wait_for_log("Connected");
    let huge = format!("X-Api-Key: {}\r\n", "x".repeat(1 << 20));
    let many: String = (0..10_000).map(|i| format!("X-{i}: y\r\n")).collect();
    for headers in [huge, many] {
        let mut stream = connect(&demo);
        let request = format!("GET / HTTP/1.1\r\nHost: demo\r\n{headers}\r\n");
        // The demo may hang up before it has all of this, and what it said be lost with it.
        let _ = stream.write_all(request.as_bytes());
        let said = String::from_utf8_lossy(&rest(stream)).into_owned();
        assert!(
            said.is_empty() || Response(said.clone()).status() == 431,
            "{said}"
        );
    }
    is_unharmed(&demo);
}

#[test]
fn non_http_input_is_harmless() {
    let redis = Server::start();
    let demo = Demo::with(&redis, "--rate 1000000 --burst 1000");
    demo.wait_for_log("Connected");
    for request in [
        &b"\r\n\r\n"[..],
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"GET \xff\xfe HTTP/1.1\r\nX-Api-Key: \x00\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
    ] {
        let mut stream = connect(&demo);
        stream.write_all(request).expect("room for a few bytes");
        stream.shutdown(std::net::Shutdown::Write).expect("an end");
        rest(stream);
    }
    is_unharmed(&demo);
}

/// Opens a port where every command gets the same bytes as a reply.
fn parrot(words: &'static [u8]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || repeat(stream, words));
        }
    });
    port
}

fn repeat(mut stream: TcpStream, words: &[u8]) -> Option<()> {
    let mut bytes = [0; 4096];
    loop {
        let read = stream.read(&mut bytes).ok().filter(|&read| read > 0)?;
        if words == b"hang up" {
            return None;
        }
        for _ in bytes.get(..read)?.iter().filter(|&&byte| byte == b'*') {
            stream.write_all(words).ok()?;
        }
    }
}

#[test]
fn garbage_from_redis_denies_nobody() {
    for words in [
        &b""[..],
        b"hang up",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x00\xff\x00\xff\r\n",
        b"+OK\r\n",
        b"-ERR no\r\n",
        b"-NOAUTH Authentication required.\r\n",
        b"-LOADING Redis is loading the dataset in memory\r\n",
        b"$-1\r\n",
        b":0\r\n",
        b"*0\r\n",
        b"*-1\r\n",
        b"*5\r\n:0\r\n:0\r\n:0\r\n:0\r\n:0\r\n",
        b"*5\r\n:0\r\n:2\r\n:0\r\n:-1\r\n:-1\r\n",
        b"*5\r\n$1\r\nx\r\n:2\r\n:0\r\n:1\r\n:1\r\n",
        b"*4\r\n:0\r\n:2\r\n:0\r\n:1\r\n",
        b"$99999999999\r\nx\r\n",
        b"*99999999999\r\n",
        b"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n",
    ] {
        let url = format!("redis://127.0.0.1:{}", parrot(words));
        let open = Demo::start(&format!("--redis {url} --burst 9"));
        let closed = Demo::start(&format!("--redis {url} --fail closed"));
        for demo in [&open, &closed] {
            wait_until("the demo has tried to connect", || {
                let log = demo.log();
                log.contains("Connected to Redis") || log.contains("no connection to Redis: ")
            });
        }
        for _ in 0..3 {
            assert_eq!(open.get().status(), 200, "{}", words.escape_ascii());
            assert_eq!(closed.get().status(), 503, "{}", words.escape_ascii());
        }
        open.wait_for_log("warning: ");
        is_unharmed(&open);
    }
}
