//! The protocol, byte by byte: commands out, replies in.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use redis::{Parser, Value};

use crate::common::Server;
use crate::records::{Fields, Table};

/// A command's words: any bytes.
#[derive(Clone, PartialEq)]
pub struct Command(pub Vec<Vec<u8>>);

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for word in &self.0 {
            write!(f, "\"{}\" ", word.escape_ascii())?;
        }
        Ok(())
    }
}

/// The content of a key.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    Nothing,
    Text(Vec<u8>),
    /// Tokens, escaped, and when their leases end.
    Leases(BTreeMap<String, i64>),
    /// The fields of a hash with the marker.
    Holds(Fields),
    /// Another type, serialized.
    Other(Vec<u8>),
}

/// A key as it was found: what it holds, and the millisecond at which it expires.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    pub content: Content,
    pub expires: Option<i64>,
}

/// A socket with a read timeout. Linux ends its reads early (EINTR) when the process was stopped.
struct Patient(TcpStream);

impl Read for Patient {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.0.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => return read,
            }
        }
    }
}

pub struct Wire {
    out: TcpStream,
    waiting: Vec<u8>,
    input: BufReader<Patient>,
    parser: Parser,
}

impl Wire {
    pub fn connect(server: &Server) -> Self {
        let out = TcpStream::connect(("127.0.0.1", server.port())).expect("a connection");
        out.set_nodelay(true).expect("an open socket");
        let limit = Some(Duration::from_secs(60));
        out.set_read_timeout(limit).expect("an open socket");
        let input = BufReader::new(Patient(out.try_clone().expect("an open socket")));
        Self {
            out,
            waiting: Vec::new(),
            input,
            parser: Parser::new(),
        }
    }

    pub fn send(&mut self, command: &Command) {
        self.words(command.0.iter().map(Vec::as_slice));
    }

    /// Asks what a key holds, whatever its type. When it expires comes first and whether it is
    /// there at all last, since it may expire in between.
    pub fn probe(&mut self, key: &[u8]) {
        for question in ["PEXPIRETIME", "GET"] {
            self.words([question.as_bytes(), key].into_iter());
        }
        let range = [b"ZRANGE", key, b"0", b"-1", b"WITHSCORES"];
        self.words(range.into_iter());
        self.words([b"HGETALL", key].into_iter());
        self.words([b"DUMP", key].into_iter());
    }

    fn words<'a>(&mut self, words: impl ExactSizeIterator<Item = &'a [u8]>) {
        write!(self.waiting, "*{}\r\n", words.len()).expect("memory");
        for word in words {
            write!(self.waiting, "${}\r\n", word.len()).expect("memory");
            self.waiting.extend_from_slice(word);
            self.waiting.extend_from_slice(b"\r\n");
        }
    }

    pub fn flush(&mut self) {
        self.out.write_all(&self.waiting).expect("the server reads");
        self.waiting.clear();
    }

    pub fn reply(&mut self) -> Value {
        self.parser.parse_value(&mut self.input).expect("a reply")
    }

    pub fn probed(&mut self) -> Found {
        let [expires, text, range, hash, dump] = std::array::from_fn(|_| self.reply());
        let content = match (text, dump) {
            (Value::BulkString(text), _) => Content::Text(text),
            (_, Value::BulkString(dump)) => match (leases(&range), fields(&hash)) {
                (Some(ends), _) => Content::Leases(ends),
                (_, Some(fields)) if Table::read(&fields, None).is_some() => Content::Holds(fields),
                // The order of the fields in a dump may change with any command.
                (_, Some(fields)) => Content::Other(fields.into_iter().flat_map(pair).collect()),
                _ => Content::Other(dump),
            },
            _ => Content::Nothing,
        };
        let expires = match expires {
            Value::Int(at) if at >= 0 && content != Content::Nothing => Some(at),
            _ => None,
        };
        Found { content, expires }
    }
}

fn pair((field, value): (Vec<u8>, Vec<u8>)) -> Vec<u8> {
    [field, value].concat()
}

/// Returns the fields of a hash.
fn fields(hash: &Value) -> Option<Fields> {
    let Value::Array(items) = hash else {
        return None;
    };
    let bytes = |value: &Value| match value {
        Value::BulkString(bytes) => Some(bytes.clone()),
        _ => None,
    };
    let pairs = items.chunks_exact(2);
    let fields = pairs.map(|pair| Some((bytes(&pair[0])?, bytes(&pair[1])?)));
    fields.collect()
}

/// Returns the leases of a sorted set, if it has the marker.
fn leases(range: &Value) -> Option<BTreeMap<String, i64>> {
    let Value::Array(items) = range else {
        return None;
    };
    let text = |value: &Value| match value {
        Value::BulkString(bytes) => Some(bytes.escape_ascii().to_string()),
        _ => None,
    };
    let mut ends = BTreeMap::new();
    for pair in items.chunks_exact(2) {
        let end: f64 = text(&pair[1])?.parse().ok()?;
        ends.insert(text(&pair[0])?, end as i64);
    }
    (ends.remove("rl:leases") == Some(0)).then_some(ends)
}
