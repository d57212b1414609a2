//! Random histories of waiting callers, held to a model: one list of waiters per key, searched from
//! the front. After each step the holders, the replies and the number of waiters must be the model's.

use std::collections::{BTreeMap, BTreeSet};

use redis::{Connection, Pipeline, Value};

use super::{assert_unloads, holders, Waiting};
use crate::common::{wait_until, Server};
use crate::lease::Leases;
use crate::support::node::launch;
use crate::support::traffic::Dice;

const KEYS: [&str; 2] = ["k", "l"];
/// Later than any lease of the test ends.
const BY_HAND: &str = "99999999999999";

/// A request for a slot.
#[derive(Clone, Debug)]
struct Request {
    key: usize,
    token: String,
    limit: u64,
    keep: u64,
    nx: bool,
}

impl Request {
    fn room(&self) -> u64 {
        self.limit.saturating_sub(self.keep)
    }

    fn words(&self) -> String {
        let mut words = format!("{} {} 1h {}", KEYS[self.key], self.limit, self.token);
        if self.keep > 0 {
            words += &format!(" KEEP {}", self.keep);
        }
        if self.nx {
            words += " NX";
        }
        words
    }
}

/// The answer to a caller.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Answer {
    Slot,
    Denied,
    Unblocked,
    /// Its connection was closed.
    Nothing,
}

#[derive(Clone, Debug)]
struct Waiter {
    number: usize,
    request: Request,
}

/// A slot that waiters were granted in a transaction that is not over.
#[derive(Default)]
struct Promise {
    open: BTreeSet<usize>,
    told: bool,
}

type Slot = (usize, String);

#[derive(Default)]
struct Model {
    live: [BTreeSet<String>; 2],
    waiters: Vec<Waiter>,
    answers: BTreeMap<usize, Answer>,
    promises: BTreeMap<Slot, Promise>,
    lost: Vec<Slot>,
}

/// A command in a transaction.
#[derive(Clone, Debug)]
enum Op {
    Acquire(Request),
    All(Vec<Request>),
    Release(usize, Vec<String>),
    Renew(usize, Vec<String>),
    Remove(usize, String),
    Expire(usize, String),
    Delete(usize),
    Add(usize, String),
    Unblock(usize),
    UnblockError(usize),
    Kill(usize),
}

impl Model {
    fn of_token(&self, key: usize, token: &str) -> Vec<Waiter> {
        let same = |w: &&Waiter| w.request.key == key && w.request.token == token;
        self.waiters.iter().filter(same).cloned().collect()
    }

    /// Returns the tokens whose turn has come, one after the other, with the number of slots that
    /// are held afterwards.
    fn plan(&self, key: usize) -> (Vec<Waiter>, u64) {
        let mut live = self.live[key].len() as u64;
        let mut turns: Vec<Waiter> = Vec::new();
        loop {
            let served = |w: &Waiter| turns.iter().any(|t| t.request.token == w.request.token);
            let next = self
                .waiters
                .iter()
                .find(|w| w.request.key == key && w.request.room() > live && !served(w));
            let Some(next) = next else {
                return (turns, live);
            };
            if !self.live[key].contains(&next.request.token) {
                live += 1;
            }
            turns.push(next.clone());
        }
    }

    fn answer(&mut self, number: usize, answer: Answer) {
        self.waiters.retain(|w| w.number != number);
        self.answers.insert(number, answer);
    }

    fn serve(&mut self, key: usize) {
        for first in self.plan(key).0 {
            let token = first.request.token;
            let is_new = self.live[key].insert(token.clone());
            for waiter in self.of_token(key, &token) {
                let gets = !waiter.request.nx || is_new && waiter.number == first.number;
                if gets && is_new {
                    let slot = (key, token.clone());
                    self.lost.retain(|lost| *lost != slot);
                    self.promises
                        .entry(slot)
                        .or_default()
                        .open
                        .insert(waiter.number);
                }
                let answer = if gets { Answer::Slot } else { Answer::Denied };
                self.answer(waiter.number, answer);
            }
        }
    }

    /// Answers all waiters of a token that holds a slot, because another caller learned of it.
    fn tell(&mut self, key: usize, token: &str) {
        self.confirm(key, token);
        for waiter in self.of_token(key, token) {
            let answer = if waiter.request.nx {
                Answer::Denied
            } else {
                Answer::Slot
            };
            self.answer(waiter.number, answer);
        }
    }

    fn confirm(&mut self, key: usize, token: &str) {
        let slot = (key, token.to_owned());
        self.lost.retain(|lost| *lost != slot);
        if let Some(promise) = self.promises.get_mut(&slot) {
            promise.told = true;
        }
    }

    fn remove(&mut self, key: usize, token: &str) -> bool {
        self.lost.retain(|lost| *lost != (key, token.to_owned()));
        self.live[key].remove(token)
    }

    /// Returns whether the request gets a slot or renews one.
    fn passes(&self, request: &Request) -> bool {
        let (turns, live) = self.plan(request.key);
        let has_own = turns.iter().any(|turn| turn.request.token == request.token);
        match self.live[request.key].contains(&request.token) || has_own {
            true => !request.nx,
            false => request.room() > live,
        }
    }

    fn take(&mut self, request: &Request) {
        if !self.live[request.key].contains(&request.token) {
            self.serve(request.key);
        }
        self.live[request.key].insert(request.token.clone());
        self.tell(request.key, &request.token);
    }

    /// Returns the integer that the command replies, or the first of its integers.
    fn run(&mut self, op: &Op) -> i64 {
        match op {
            Op::Acquire(request) => {
                let passes = self.passes(request);
                if passes {
                    self.take(request);
                }
                passes.into()
            }
            Op::All(requests) => {
                let pass = requests.iter().all(|request| self.passes(request));
                if pass {
                    requests.iter().for_each(|request| self.take(request));
                }
                pass.into()
            }
            Op::Release(key, tokens) => {
                let freed = tokens
                    .iter()
                    .filter(|token| self.remove(*key, token))
                    .count();
                if freed > 0 {
                    self.serve(*key);
                }
                freed as i64
            }
            Op::Renew(key, tokens) => {
                let live = tokens
                    .iter()
                    .filter(|token| self.live[*key].contains(*token));
                let live: BTreeSet<_> = live.cloned().collect();
                live.iter().for_each(|token| self.confirm(*key, token));
                live.len() as i64
            }
            Op::Remove(key, token) => self.remove(*key, token).into(),
            Op::Expire(key, token) => {
                self.remove(*key, token);
                0
            }
            Op::Delete(key) => {
                let existed = !self.live[*key].is_empty();
                self.lost.retain(|lost| lost.0 != *key);
                self.live[*key].clear();
                existed.into()
            }
            Op::Add(key, token) => self.live[*key].insert(token.clone()).into(),
            Op::Unblock(number) => {
                self.end(*number, Answer::Denied, true);
                1
            }
            Op::UnblockError(number) => {
                self.end(*number, Answer::Unblocked, false);
                1
            }
            Op::Kill(number) => {
                self.end(*number, Answer::Nothing, false);
                1
            }
        }
    }

    /// Ends a wait with this answer. One that has an answer is told it, or is lost.
    fn end(&mut self, number: usize, answer: Answer, is_told: bool) {
        if !self.answers.contains_key(&number) {
            return self.answer(number, answer);
        }
        if !is_told {
            self.answers.insert(number, answer);
        }
        self.close(number, is_told);
    }

    fn close(&mut self, number: usize, is_told: bool) {
        let held = self
            .promises
            .iter_mut()
            .find(|(_, promise)| promise.open.contains(&number));
        let Some((slot, promise)) = held else {
            return;
        };
        promise.open.remove(&number);
        promise.told |= is_told;
        if promise.open.is_empty() {
            let (slot, told) = (slot.clone(), promise.told);
            self.promises.remove(&slot);
            if !told && self.live[slot.0].contains(&slot.1) {
                self.lost.push(slot);
            }
        }
    }

    /// The transaction is over: callers are told their answers, slots that nobody was told of are
    /// taken back, and those that were freed by hand are granted. Returns the answers.
    fn settle(&mut self) -> BTreeMap<usize, Answer> {
        let mut answers = BTreeMap::new();
        loop {
            let new = std::mem::take(&mut self.answers);
            new.keys().for_each(|&number| self.close(number, true));
            answers.extend(new);
            assert!(self.promises.is_empty());
            for (key, token) in std::mem::take(&mut self.lost) {
                self.live[key].remove(&token);
                self.serve(key);
            }
            (0..2).for_each(|key| self.serve(key));
            if self.answers.is_empty() {
                return answers;
            }
        }
    }
}

impl Op {
    fn add_to(&self, pipe: &mut Pipeline, callers: &BTreeMap<usize, Waiting>) {
        let id = |number: &usize| callers[number].id.to_string();
        let words: String = match self {
            Self::Acquire(request) => format!("RL.ACQUIRE {}", request.words()),
            Self::All(requests) => {
                let keys = requests.iter().map(|request| KEYS[request.key]);
                let keys: Vec<_> = keys.collect();
                let mut words = format!("RL.ALL {} {}", keys.len(), keys.join(" "));
                for request in requests {
                    let Request {
                        limit, keep, token, ..
                    } = request;
                    words += &format!(" LEASE {limit} 1h {token} KEEP {keep}");
                }
                words
            }
            Self::Release(key, tokens) => format!("RL.RELEASE {} {}", KEYS[*key], tokens.join(" ")),
            Self::Renew(key, tokens) => format!("RL.RENEW {} 30m {}", KEYS[*key], tokens.join(" ")),
            Self::Remove(key, token) => format!("ZREM {} {token}", KEYS[*key]),
            Self::Expire(key, token) => format!("ZADD {} XX 1 {token}", KEYS[*key]),
            Self::Delete(key) => format!("DEL {}", KEYS[*key]),
            Self::Add(key, token) => format!("ZADD {} {BY_HAND} {token}", KEYS[*key]),
            Self::Unblock(number) => format!("CLIENT UNBLOCK {}", id(number)),
            Self::UnblockError(number) => format!("CLIENT UNBLOCK {} ERROR", id(number)),
            Self::Kill(number) => format!("CLIENT KILL ID {}", id(number)),
        };
        let mut words = words.split(' ');
        pipe.cmd(words.next().expect("a command"))
            .arg(words.collect::<Vec<_>>());
    }
}

/// A server, the callers that wait for it, and the model of both.
struct World {
    server: Server,
    c: Connection,
    dice: Dice,
    model: Model,
    callers: BTreeMap<usize, Waiting>,
    last: usize,
    log: Vec<String>,
}

impl World {
    /// Returns one of these, if there is any.
    fn one_of<T: Clone>(&mut self, list: &[T]) -> Option<T> {
        let at = self.dice.roll(0..list.len().max(1) as u64) as usize;
        list.get(at).cloned()
    }

    /// Returns a token: often that of a waiter of the key, or one whose slot nobody was told of.
    fn token(&mut self, key: usize) -> String {
        let model = &self.model;
        let waiting = model.waiters.iter().filter(|w| w.request.key == key);
        let waiting: Vec<_> = waiting.map(|w| w.request.token.clone()).collect();
        let untold = model.promises.keys().chain(&model.lost);
        let untold: Vec<_> = untold.filter(|slot| slot.0 == key).collect();
        let untold: Vec<_> = untold.iter().map(|slot| slot.1.clone()).collect();
        let known = match self.dice.roll(0..10) {
            0..4 => self.one_of(&untold),
            4..7 => self.one_of(&waiting),
            _ => None,
        };
        known.unwrap_or_else(|| format!("t{}", self.dice.roll(0..20)))
    }

    fn request(&mut self, key: usize) -> Request {
        Request {
            key,
            token: self.token(key),
            limit: [0, 2, 3, 3, 3, 3, 3, 4][self.dice.roll(0..8) as usize],
            keep: [0, 0, 0, 0, 0, 1][self.dice.roll(0..6) as usize],
            nx: self.dice.roll(0..5) == 0,
        }
    }

    /// Returns a random command; `None` if there is nothing that it could be about.
    fn op(&mut self, key: usize, ended: &BTreeSet<usize>) -> Option<Op> {
        let live: Vec<_> = self.model.live[key].iter().cloned().collect();
        let callers = self.callers.keys().filter(|number| !ended.contains(number));
        let callers: Vec<_> = callers.copied().collect();
        let answered = callers
            .iter()
            .filter(|number| self.model.answers.contains_key(number));
        let answered: Vec<_> = answered.copied().collect();
        let caller = match self.dice.roll(0..3) {
            0 => self.one_of(&callers),
            _ => self.one_of(&answered),
        };
        Some(match self.dice.roll(0..44) {
            0..5 => Op::Acquire(self.request(key)),
            5..10 => {
                let mut requests = vec![self.request(0), self.request(1)];
                requests.iter_mut().for_each(|request| request.nx = false);
                match self.dice.roll(0..3) {
                    0 => {}
                    n => drop(requests.remove(n as usize - 1)),
                }
                Op::All(requests)
            }
            10..18 => {
                let mut tokens = vec![self.one_of(&live)?, self.token(key)];
                tokens.extend(self.one_of(&live));
                tokens.dedup();
                Op::Release(key, tokens)
            }
            18..22 => Op::Renew(key, vec![self.token(key)]),
            22..26 => Op::Remove(key, self.one_of(&live)?),
            26..29 => Op::Expire(key, self.one_of(&live)?),
            29 => Op::Delete(key).into_some(!live.is_empty())?,
            30..36 => {
                // Often a token of a waiter, whose turn then takes no second slot.
                let waiting = self.model.waiters.iter().filter(|w| w.request.key == key);
                let waiting: Vec<_> = waiting.map(|w| w.request.token.clone()).collect();
                let token = match self.dice.roll(0..3) {
                    0 => self.token(key),
                    _ => self.one_of(&waiting)?,
                };
                // A set without a lease may be gone, and would be another's then.
                let is_new = !live.is_empty() && !live.contains(&token);
                Op::Add(key, token).into_some(is_new)?
            }
            36..38 => Op::Unblock(caller?),
            38..41 => Op::UnblockError(caller?),
            _ => Op::Kill(caller?),
        })
    }

    /// Makes a random transaction.
    fn transaction(&mut self) {
        let mut pipe = redis::pipe();
        pipe.atomic();
        let mut expected = Vec::new();
        let mut ops = Vec::new();
        let mut ended = BTreeSet::new();
        // Mostly about one key, so that one command meets what another has left.
        let key = self.dice.roll(0..2) as usize;
        for _ in 0..self.dice.roll(1..8) {
            let other = usize::from(self.dice.roll(0..8) == 0);
            let Some(op) = self.op(key ^ other, &ended) else {
                continue;
            };
            if let Op::Unblock(number) | Op::UnblockError(number) | Op::Kill(number) = op {
                ended.insert(number);
            }
            op.add_to(&mut pipe, &self.callers);
            expected.push(self.model.run(&op));
            ops.push(op);
        }
        for key in KEYS {
            pipe.cmd("RL.LEASES").arg(&[key, "9", "COUNT", "100"]);
        }
        self.log.push(format!("{ops:?}"));
        let replies: Vec<Value> = pipe.query(&mut self.c).expect("replies");
        let (found, sets) = replies.split_at(expected.len());
        for ((op, expected), found) in ops.iter().zip(expected).zip(found) {
            let first = match found {
                Value::Array(items) => items.first(),
                other => Some(other),
            };
            // Whether the set or an expired lease was there is not modelled.
            let fits =
                matches!(op, Op::Delete(_) | Op::Add(..)) || first == Some(&Value::Int(expected));
            assert!(fits, "{op:?} replied {found:?}, not {expected}");
        }
        for (key, set) in sets.iter().enumerate() {
            let told: Leases = redis::from_redis_value_ref(set).expect("seven elements");
            let tokens: BTreeSet<_> = told.5.into_iter().map(|(token, _)| token).collect();
            assert_eq!(tokens, self.model.live[key], "{}", KEYS[key]);
            let waiting = self.model.waiters.iter().filter(|w| w.request.key == key);
            assert_eq!(told.6, waiting.count() as i64);
        }
        self.settle();
    }

    /// Has one more caller wait, if it has to.
    fn wait(&mut self) {
        let key = self.dice.roll(0..2) as usize;
        let request = self.request(key);
        let mut words = request.words() + " WAIT 600000";
        let queue = self.dice.roll(1..9);
        let others = self.model.waiters.iter().filter(|w| w.request.key == key);
        let is_full = queue < 6 && others.count() as u64 >= queue;
        if queue < 6 {
            words += &format!(" QUEUE {queue}");
        }
        self.log.push(format!("RL.ACQUIRE {words}"));
        let is_held = self.model.live[key].contains(&request.token);
        let passes = self.model.passes(&request);
        let waits = !is_held && !passes && request.room() > 0 && !is_full;
        let before = self.server.count("rl_lease_waits");
        let mut caller = Waiting::call(&self.server, &words);
        if waits {
            self.last += 1;
            let number = self.last;
            self.model.waiters.push(Waiter { number, request });
            self.callers.insert(number, caller);
            wait_until("the caller waits", || {
                self.server.count("rl_lease_waits") > before
            });
        } else {
            assert_eq!(caller.taken(), passes);
            if passes {
                self.model.take(&request);
            }
        }
        self.settle();
    }

    /// Waits until the server is as the model, and compares the replies.
    fn settle(&mut self) {
        let answers = self.model.settle();
        let waiting = self.model.waiters.len() as i64;
        wait_until("the server is as the model", || {
            let found = KEYS.map(|key| holders(&mut self.c, key));
            let live = |n: usize| self.model.live[n].iter().eq(found[n].iter());
            live(0) && live(1) && self.server.count("rl_lease_waiting") == waiting
        });
        for (number, answer) in answers {
            let mut caller = self.callers.remove(&number).expect("a caller");
            let found = match caller.value() {
                Ok(reply) if reply[0] == 1 => Answer::Slot,
                Ok(_) => Answer::Denied,
                Err(error) if error.starts_with("UNBLOCKED") => Answer::Unblocked,
                Err(_) => Answer::Nothing,
            };
            assert_eq!(found, answer, "caller {number}");
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Model { live, waiters, .. } = &self.model;
            eprintln!("{:#?}\nexpected {live:?} {waiters:?}", self.log);
        }
    }
}

impl Op {
    fn into_some(self, is: bool) -> Option<Self> {
        is.then_some(self)
    }
}

#[test]
fn random_histories_of_waiting_callers_fit_a_model() {
    for seed in 1..=6 {
        let server = launch().start();
        let mut world = World {
            c: server.connection(),
            server,
            dice: Dice::new(seed),
            model: Model::default(),
            callers: BTreeMap::new(),
            last: 0,
            log: vec![format!("seed {seed}")],
        };
        for _ in 0..150 {
            match world.dice.roll(0..3) {
                0 => world.transaction(),
                _ if world.callers.len() > 14 => world.transaction(),
                _ => world.wait(),
            }
        }
        drop(std::mem::take(&mut world.callers));
        super::wait_until_waiting(&world.server, 0);
        assert_unloads(&world.server);
    }
}
