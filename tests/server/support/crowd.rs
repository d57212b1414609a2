//! Clients at full speed that are killed, that read late, that stop in the middle of a command,
//! and that keep a book of every token all the same.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::Arc;
use std::thread::JoinHandle;

use redis::{Connection, Value};

use crate::common::{wait_until, Server};
use crate::support::ledger::Book;
use crate::support::rounds::{words, Call, Round};
use crate::support::traffic::Dice;

/// Rounds that a slow reader sends before it reads, including calls of RL.TOP, whose replies fill
/// the buffers between it and the server.
const UNREAD_ROUNDS: usize = 10;
const UNREAD_LISTS: usize = 300;

/// The clients, running until they are stopped.
pub struct Crowd {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<Book>>,
}

/// The state shared by the clients and the disturber.
#[derive(Default)]
pub struct Shared {
    stop: AtomicBool,
    answered: AtomicUsize,
    lost: AtomicUsize,
    /// The epoch that is about to begin, if it has not; the one that surely has; and the last in
    /// which connections were killed.
    pub announced: AtomicU64,
    pub begun: AtomicU64,
    pub killed: AtomicU64,
}

impl Crowd {
    /// Starts with `connections` connections, all open from the start.
    pub fn on(server: &Server, connections: usize, shared: &Arc<Shared>) -> Self {
        let open: Vec<_> = (0..connections).map(|_| server.connection()).collect();
        let client = |(n, connection)| {
            let mut client = Client {
                shared: Arc::clone(shared),
                address: server.client(),
                connection,
                dice: Dice::new(n as u64 + 1),
                book: Book::default(),
            };
            let manner = [Manner::ReadsLate, Manner::Halts, Manner::Leaves]
                .get(n % 10)
                .copied();
            std::thread::spawn(move || {
                client.work(manner.unwrap_or(Manner::Prompt));
                client.book
            })
        };
        Self {
            shared: Arc::clone(shared),
            clients: open.into_iter().enumerate().map(client).collect(),
        }
    }

    /// Waits for `calls` further replies.
    pub fn pass(&self, calls: usize) {
        let answered = || self.shared.answered.load(Ordering::SeqCst);
        let enough = answered() + calls;
        wait_until("calls are answered", || {
            assert!(
                !self.clients.iter().any(JoinHandle::is_finished),
                "a client gave up"
            );
            answered() >= enough
        });
    }

    /// Calls that were answered so far.
    pub fn answered(&self) -> usize {
        self.shared.answered.load(Ordering::SeqCst)
    }

    /// Connections that the server closed so far.
    pub fn lost(&self) -> usize {
        self.shared.lost.load(Ordering::SeqCst)
    }

    /// Ends it: what all of them together know.
    pub fn stop(self) -> Book {
        self.shared.stop.store(true, Ordering::SeqCst);
        let mut all = Book::default();
        for client in self.clients {
            all.add(client.join().expect("a client that ends"));
        }
        all
    }
}

/// The way a client sends and reads.
#[derive(Clone, Copy)]
enum Manner {
    Prompt,
    /// Reads nothing until the next epoch.
    ReadsLate,
    /// Stops anywhere in what it sends, until the next epoch.
    Halts,
    /// Goes away in the middle of its first command.
    Leaves,
}

struct Client {
    shared: Arc<Shared>,
    address: redis::Client,
    connection: Connection,
    dice: Dice,
    book: Book,
}

impl Client {
    fn work(&mut self, manner: Manner) {
        while !self.is_over() {
            match manner {
                Manner::Prompt => self.round(1, None),
                Manner::ReadsLate => self.round(UNREAD_ROUNDS, None),
                Manner::Halts => {
                    let at = self.dice.roll(0..1000);
                    self.round(1, Some(at as usize));
                }
                Manner::Leaves => {
                    self.round(1, None);
                    self.leave();
                }
            }
        }
    }

    fn is_over(&self) -> bool {
        self.shared.stop.load(Ordering::SeqCst)
    }

    /// Sends some rounds together and books the answers. With `halt` it stops in the middle, that
    /// many thousandths on; several rounds are read only in the next epoch.
    fn round(&mut self, rounds: usize, halt: Option<usize>) {
        let rounds: Vec<_> = (0..rounds).map(|_| Round::roll(&mut self.dice)).collect();
        let bytes: Vec<_> = rounds.iter().flat_map(Round::packed).collect();
        let reads_late = rounds.len() > 1;
        let lists = if reads_late { UNREAD_LISTS } else { 0 };
        let list = words("RL.TOP").repeat(lists);

        let begun = self.shared.begun.load(Ordering::SeqCst);
        let cut = halt.map_or(0, |at| bytes.len() * at / 1000);
        if cut > 0 {
            self.send(&bytes[..cut]);
            self.wait_for_next_epoch();
        }
        self.send(&[&bytes[cut..], &list].concat());
        if reads_late {
            self.wait_for_next_epoch();
        }
        let expected = lists + rounds.iter().map(Round::replies).sum::<usize>();
        let replies = self.read(expected);
        // On a connection that was killed nothing was done afterwards.
        let last = if replies.len() < expected {
            &self.shared.killed
        } else {
            &self.shared.announced
        };
        let epochs = begun..=last.load(Ordering::SeqCst);
        let mut replies = replies.into_iter();
        for round in rounds {
            let mine: Vec<_> = replies.by_ref().take(round.replies()).collect();
            round.settle(&mine, &epochs, &mut self.book);
            self.shared.answered.fetch_add(mine.len(), Ordering::SeqCst);
        }
    }

    /// Sends; that the connection is lost is seen when its replies are read.
    fn send(&mut self, bytes: &[u8]) {
        if let Err(error) = self.connection.send_packed_command(bytes) {
            assert!(error.is_io_error(), "{error}");
        }
    }

    /// Reads `expected` replies, or fewer if the connection is lost; then opens a new one.
    fn read(&mut self, expected: usize) -> Vec<Value> {
        let mut replies = Vec::new();
        while replies.len() < expected {
            match self.connection.recv_response() {
                Ok(reply) => replies.push(reply),
                Err(error) if error.is_io_error() => {
                    self.shared.lost.fetch_add(1, Ordering::SeqCst);
                    self.connect();
                    break;
                }
                Err(error) => panic!("no protocol: {error}"),
            }
        }
        replies
    }

    fn connect(&mut self) {
        wait_until("the server takes connections", || {
            // A new connection may be killed during its HELLO, or get BUSY.
            self.address
                .get_connection()
                .map(|connection| self.connection = connection)
                .is_ok()
        });
    }

    fn leave(&mut self) {
        let call = Call::roll(&mut self.dice).packed();
        let part = self.dice.roll(1..call.len() as u64) as usize;
        self.send(&call[..part]);
        self.connect();
    }

    fn wait_for_next_epoch(&self) {
        let epoch = || self.shared.begun.load(Ordering::SeqCst);
        let now = epoch();
        wait_until("an epoch begins", || epoch() > now || self.is_over());
    }
}
