//! The interface of a store.

use std::error::Error;
use std::future::{ready, Future};
use std::pin::Pin;

use crate::census::Census;
use crate::limit::{Ask, Demand, Standing};

/// The store's answer to a demand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub allowed: bool,
    /// One per limit of the demand, in order.
    pub standings: Vec<Standing>,
}

/// The part of an ask to be refunded.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Owed {
    /// All, since the request is not served.
    Everything,
    /// Only the slots, which are held while the request is served.
    Slots,
}

/// Why a store gives no answer.
pub type StoreError = Box<dyn Error + Send + Sync>;

/// An answer that is on its way.
pub type Answering<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// The store of the limits.
pub trait Store: Send + Sync {
    /// Takes `ask` from every limit of `demand`, or nothing.
    fn take<'a>(&'a self, demand: &'a Demand, ask: &'a Ask) -> Answering<'a, Answer>;

    /// Refunds such a call.
    fn give_back<'a>(&'a self, demand: &'a Demand, ask: &'a Ask, owed: Owed) -> Answering<'a, ()>;

    /// Renews the slots of such a call; `false` if some of them were lost.
    fn renew<'a>(&'a self, _: &'a Demand, _: &'a Ask) -> Answering<'a, bool> {
        Box::pin(ready(Ok(true)))
    }

    /// Returns its address for display.
    fn name(&self) -> &str;

    /// Returns whether the store is available, as far as known without asking.
    fn is_up(&self) -> bool {
        true
    }

    /// Asks whether it could be asked now.
    fn ready(&self) -> Answering<'_, ()> {
        Box::pin(ready(Ok(())))
    }

    /// Returns its own counters.
    fn census(&self) -> Answering<'_, Census>;

    /// Returns the standing of `caller` under every limit of `demand`, without changing anything.
    fn peek<'a>(&'a self, demand: &'a Demand, caller: &'a str) -> Answering<'a, Vec<Standing>>;

    /// Refunds everything that `caller` used of every limit of `demand`. A key that holds anything
    /// else is an error, and is left alone.
    fn reset<'a>(&'a self, demand: &'a Demand, caller: &'a str) -> Answering<'a, ()>;
}
