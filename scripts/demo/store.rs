//! The store of the limits: Redis, or this process.

mod memory;
mod remote;

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;

use crate::limit::{Ask, Demand, Standing};

pub use memory::Memory;
pub use remote::{packed, Remote};

/// The store's answer to a demand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub allowed: bool,
    /// One per limit of the demand, in order.
    pub standings: Vec<Standing>,
}

/// A caller's standing under a limit, for an operator.
#[derive(Clone, Debug)]
pub struct Look {
    /// The remaining amount.
    pub remaining: u64,
    /// Milliseconds until one may be; `None`: never.
    pub wait_ms: Option<u64>,
    /// Milliseconds until nothing counts as used.
    pub reset_ms: u64,
}

/// Number of top denied keys that a store is asked for.
pub const TOP: usize = 1000;
/// `RL.TOP` replies with no more bytes of a key: one that long may be the start of another.
const CUT: usize = 256;

/// A key that was denied.
#[derive(Clone)]
pub struct Offender {
    pub key: Vec<u8>,
    pub denials: u64,
    /// The largest possible overcount.
    pub error: u64,
    /// Milliseconds since the last denial.
    pub since: u64,
}

impl Offender {
    /// Returns the key in printable ASCII; different keys give different texts.
    pub fn shown(&self) -> String {
        self.key.escape_ascii().to_string()
    }

    /// Returns whether this is the whole key.
    pub fn is_whole(&self) -> bool {
        self.key.len() < CUT
    }
}

/// The store's own counters.
#[derive(Clone, Default)]
pub struct Census {
    /// The numbers of `INFO rl` of each master, by its address if there are several, and by field.
    pub counters: BTreeMap<String, BTreeMap<String, u64>>,
    /// Heaviest first.
    pub top: Vec<Offender>,
    /// The store's name and version, and the module's.
    pub about: String,
    /// The run of the store; another run starts from zero.
    pub run: String,
}

/// Why a store gives no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// There is nobody to ask, or no answer came.
    Unavailable(String),
    /// It replied with this error.
    Refused(String),
    /// Its reply does not match the request.
    Nonsense(String),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Unavailable(why) | Self::Refused(why) | Self::Nonsense(why)) = self;
        f.write_str(why)
    }
}

impl std::error::Error for StoreError {}

/// An answer that is on its way.
pub type Answering<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// The store of the limits.
pub trait Store: Send + Sync {
    /// Takes what `ask` says from every limit of `demand`, or nothing.
    fn take<'a>(&'a self, demand: &'a Demand, ask: &'a Ask) -> Answering<'a, Answer>;

    /// Refunds such a call.
    fn give_back<'a>(&'a self, demand: &'a Demand, ask: &'a Ask) -> Answering<'a, ()>;

    /// Frees what such a call holds for as long as its request is served.
    fn release<'a>(&'a self, demand: &'a Demand, ask: &'a Ask) -> Answering<'a, ()>;

    /// Has that go on; `false` if some of it ended before.
    fn renew<'a>(&'a self, demand: &'a Demand, ask: &'a Ask) -> Answering<'a, bool>;

    /// Returns its address for display.
    fn name(&self) -> &str;

    /// Returns whether the store is available, as far as known without asking.
    fn is_up(&self) -> bool;

    /// Asks whether it could be asked now.
    fn ready(&self) -> Answering<'_, ()>;

    /// Returns its own counters.
    fn census(&self) -> Answering<'_, Census>;

    /// Returns the standing of `caller` under every limit of `demand`, without changing anything.
    fn look<'a>(&'a self, demand: &'a Demand, caller: &'a str) -> Answering<'a, Vec<Look>>;

    /// Gives `caller` back all that it used of every limit of `demand`. A key that holds anything else
    /// is an error, and is left alone.
    fn reset<'a>(&'a self, demand: &'a Demand, caller: &'a str) -> Answering<'a, ()>;
}
