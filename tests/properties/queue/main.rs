//! The queues of waiting callers, held to a model that shares no code with them: one list of all
//! waiters in order of arrival, searched from the front.

mod model;

use std::collections::BTreeSet;

use model::{Model, Waiting};
use proptest::prelude::*;
use redis_rl_limits::bounds::MAX_SAME_TOKEN;
use redis_rl_limits::waiting::queue::{Ticket, Waiter, MAX_GRANTS, MAX_ROOMS};
use redis_rl_limits::waiting::queues::{Bounds, Full, Queues};

/// A step of a history.
#[derive(Clone, Debug)]
enum Step {
    Join {
        key: u8,
        room: u64,
        token: u8,
        wait: u64,
        queue: Option<u64>,
    },
    /// The waiter at this position of all, modulo their number, goes away.
    Leave { at: usize },
    /// Slots of a key are free: everybody who can is served.
    Serve { key: u8, live: u64, most: usize },
    /// Somebody adds a token by hand.
    Hold { key: u8, token: u8 },
    /// Time passes, and those whose time is up go away.
    Pass { ms: u64 },
    /// A key has a new time to be checked at.
    Due { key: u8, at: Option<i64> },
    /// The next key is checked.
    Turn,
}

/// Steps with rooms from 0 to `rooms`.
fn step(rooms: u64) -> impl Strategy<Value = Step> {
    let key = || prop_oneof![3 => Just(0u8), 1 => 0..6u8];
    let room = prop_oneof![1 => 0..6u64, 2 => 0..=rooms];
    let queue = prop_oneof![4 => Just(None), 1 => (1..30u64).prop_map(Some)];
    prop_oneof![
        30 => (key(), room, 0..40u8, 1..200u64, queue).prop_map(|(key, room, token, wait, queue)| {
            Step::Join { key, room, token, wait, queue }
        }),
        6 => any::<usize>().prop_map(|at| Step::Leave { at }),
        4 => (key(), 0..=rooms, 0..5usize).prop_map(|(key, live, most)| Step::Serve { key, live, most }),
        1 => (key(), 0..=rooms).prop_map(|(key, live)| Step::Serve { key, live, most: MAX_GRANTS }),
        3 => (key(), 0..40u8).prop_map(|(key, token)| Step::Hold { key, token }),
        4 => (0..20u64).prop_map(|ms| Step::Pass { ms }),
        3 => (key(), proptest::option::of(0..50i64)).prop_map(|(key, at)| Step::Due { key, at }),
        3 => Just(Step::Turn),
    ]
}

/// Two databases, three keys in each.
fn name(key: u8) -> (i32, [u8; 1]) {
    (i32::from(key % 2), [key / 2])
}

struct World {
    queues: Queues<u8>,
    model: Model,
    held: BTreeSet<(u8, u8)>,
    server: usize,
    now: u64,
}

impl World {
    fn step(&mut self, step: &Step) {
        match *step {
            Step::Join {
                key,
                room,
                token,
                wait,
                queue,
            } => self.join(key, room, token, self.now + wait, queue),
            Step::Leave { at } => {
                if let Some(at) = at.checked_rem(self.model.waiting.len()) {
                    let gone = self.model.waiting[at].ticket;
                    self.leave(gone);
                }
            }
            Step::Serve { key, live, most } => self.serve(key, live, most),
            Step::Hold { key, token } => {
                self.held.insert((key, token));
            }
            Step::Pass { ms } => {
                self.now += ms;
                while let Some((until, ticket)) = self.queues.first_timeout() {
                    assert_eq!(self.model.first_timeout(), Some((until, ticket)));
                    if until > self.now {
                        break;
                    }
                    self.leave(ticket);
                }
            }
            Step::Due { key, at } => {
                let (db, name) = name(key);
                if let Some(id) = self.queues.find(db, &name) {
                    self.queues.set_due(id, at);
                    self.model.set_due(key, at);
                }
            }
            Step::Turn => {
                let key = self.queues.turn().map(|id| self.key(id));
                assert_eq!(key, self.model.turn());
            }
        }
        self.compare();
    }

    fn key(&self, id: redis_rl_limits::waiting::queues::QueueId) -> u8 {
        let place = self.queues.place(id).expect("a queue");
        place.key[0] * 2 + place.db as u8
    }

    fn join(&mut self, key: u8, room: u64, token: u8, until: u64, queue: Option<u64>) {
        let (db, name) = name(key);
        let bounds = Bounds {
            queue,
            server: self.server,
        };
        let found = self.queues.check(db, &name, &[token], room, bounds);
        let others = || self.model.of_key(key);
        let rooms: BTreeSet<_> = others().map(|w| w.room).collect();
        let expected = if queue.is_some_and(|most| others().count() as u64 >= most) {
            Err(Full::Queue)
        } else if self.model.waiting.len() >= self.server {
            Err(Full::Server)
        } else if others().filter(|w| w.token == token).count() >= MAX_SAME_TOKEN {
            Err(Full::Token)
        } else if rooms.len() == MAX_ROOMS && !rooms.contains(&room) {
            Err(Full::Rooms)
        } else {
            Ok(())
        };
        assert_eq!(found, expected);
        if found.is_err() {
            return;
        }
        let waiter = Waiter {
            token: [token][..].into(),
            room,
            until,
            call: token,
        };
        let ticket = self.queues.join(db, &name, waiter);
        self.model.join(Waiting {
            ticket,
            key,
            room,
            token,
            until,
        });
    }

    fn leave(&mut self, ticket: Ticket) {
        let gone = self.queues.leave(ticket).expect("a waiter");
        let expected = self.model.leave(ticket);
        assert_eq!(
            (gone.room, gone.until, gone.call),
            (expected.room, expected.until, expected.token)
        );
        assert!(self.queues.leave(ticket).is_none());
    }

    fn serve(&mut self, key: u8, live: u64, most: usize) {
        let (db, name) = name(key);
        let Some(id) = self.queues.find(db, &name) else {
            assert_eq!(self.model.of_key(key).count(), 0);
            return;
        };
        let queue = &self.queues.place(id).expect("a queue").queue;
        let held = &self.held;
        let plan = queue.plan(live, most, |token| held.contains(&(key, token[0])));
        let expected = self.model.plan(key, live, most, held);
        assert_eq!(plan, expected);
        for room in 0..10 {
            let served = !plan.is_cut && room > plan.live;
            assert_eq!(plan.has_room_for(room), served);
        }
        for turn in plan.turns {
            let token = self
                .queues
                .waiter(turn.ticket())
                .expect("a waiter")
                .token
                .clone();
            let queue = &self.queues.place(id).expect("a queue").queue;
            let answered = queue.of(&token);
            assert_eq!(answered, self.model.of_token(key, token[0]));
            answered.into_iter().for_each(|ticket| self.leave(ticket));
        }
        self.held.retain(|&(k, _)| k != key);
    }

    fn compare(&self) {
        assert_eq!(self.queues.len(), self.model.waiting.len());
        assert_eq!(self.queues.is_empty(), self.model.waiting.is_empty());
        assert_eq!(self.queues.first_timeout(), self.model.first_timeout());
        let due = self.queues.first_due().map(|(at, id)| (at, self.key(id)));
        assert_eq!(due.map(|(at, _)| at), self.model.first_due());
        let keys: BTreeSet<_> = self.model.waiting.iter().map(|w| w.key).collect();
        assert_eq!(self.queues.keys(), keys.len());
        for key in 0..6 {
            let (db, name) = name(key);
            let id = self.queues.find(db, &name);
            let queue = id.and_then(|id| self.queues.place(id));
            let waiting = queue.map_or(0, |place| place.queue.len());
            assert_eq!(waiting, self.model.of_key(key).count());
            let room = queue.map_or(0, |place| place.queue.largest_room());
            assert_eq!(
                room,
                self.model.of_key(key).map(|w| w.room).max().unwrap_or(0)
            );
            let first = queue.and_then(|place| place.queue.first());
            assert_eq!(first, self.model.of_key(key).map(|w| w.ticket).next());
        }
    }
}

proptest! {
    #[test]
    fn queues_behave_as_a_list_in_order_of_arrival(
        steps in (1..100u64).prop_flat_map(|rooms| proptest::collection::vec(step(rooms), 1..400)),
        server in prop_oneof![Just(100_000usize), 0..100usize],
    ) {
        let mut world = World {
            queues: Queues::default(),
            model: Model::default(),
            held: BTreeSet::new(),
            server,
            now: 0,
        };
        steps.iter().for_each(|step| world.step(step));
    }
}

/// Many waiters of one token cost a plan no more than one does, and all are found.
#[test]
fn token_of_many_waiters_takes_one_turn() {
    let mut queues = Queues::default();
    let waiter = |token: &[u8], room| Waiter {
        token: token.into(),
        room,
        until: 9,
        call: (),
    };
    for _ in 0..1_000 {
        queues.join(0, b"k", waiter(b"same", 3));
    }
    let other = queues.join(0, b"k", waiter(b"other", 3));
    let id = queues.find(0, b"k").expect("a queue");
    let queue = &queues.place(id).expect("a queue").queue;
    let plan = queue.plan(0, MAX_GRANTS, |_| false);
    let tickets: Vec<_> = plan.turns.iter().map(|turn| turn.ticket()).collect();
    assert_eq!(tickets, [queue.of(b"same")[0], other]);
    assert_eq!(queue.of(b"same").len(), 1_000);
}

const EVERYBODY: Bounds = Bounds {
    queue: None,
    server: usize::MAX,
};

#[test]
fn caller_that_would_be_the_17th_of_its_token_cannot_wait_for_the_key() {
    let mut queues = Queues::default();
    let check = |queues: &Queues<()>, key: &[u8], token: &[u8], room| {
        queues.check(0, key, token, room, EVERYBODY)
    };
    for room in 1..=MAX_SAME_TOKEN as u64 {
        assert_eq!(check(&queues, b"k", b"t", room), Ok(()));
        let waiter = Waiter {
            token: b"t"[..].into(),
            room,
            until: 9,
            call: (),
        };
        queues.join(0, b"k", waiter);
    }
    assert_eq!(check(&queues, b"k", b"t", 1), Err(Full::Token));
    assert_eq!(check(&queues, b"k", b"other", 1), Ok(()));
    assert_eq!(check(&queues, b"other", b"t", 1), Ok(()));
}

#[test]
fn caller_whose_room_would_be_the_65th_of_a_key_cannot_wait() {
    let mut queues = Queues::default();
    for room in 1..=MAX_ROOMS as u64 {
        let token = [room as u8];
        assert_eq!(queues.check(0, b"k", &token, room, EVERYBODY), Ok(()));
        let waiter = Waiter {
            token: token[..].into(),
            room,
            until: 9,
            call: (),
        };
        queues.join(0, b"k", waiter);
    }
    assert_eq!(queues.check(0, b"k", b"t", 65, EVERYBODY), Err(Full::Rooms));
    assert_eq!(queues.check(0, b"k", b"t", 64, EVERYBODY), Ok(()));
    assert_eq!(queues.check(0, b"other", b"t", 65, EVERYBODY), Ok(()));
    assert_eq!(queues.check(1, b"k", b"t", 65, EVERYBODY), Ok(()));
}
