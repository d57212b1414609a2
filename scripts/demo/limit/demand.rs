//! All the limits of a demo, and the one command that takes from every one of them or from none.

use std::time::Duration;

use redis::{cmd, Cmd};

use super::algorithm::{Algorithm, Ask, Limit};

/// A lease is renewed when this part of its time has passed: two renewals may fail.
const RENEWALS: u32 = 3;

/// The limits of every request.
pub struct Demand {
    pub limits: Vec<Limit>,
}

impl Demand {
    /// Returns the bucket that is the only limit, which `RL.TAKE` takes from.
    pub fn lone_bucket(&self) -> Option<&Limit> {
        let is_bucket = |limit: &&Limit| matches!(limit.algorithm, Algorithm::Bucket(_));
        let lone = self.limits.first().filter(|_| self.limits.len() == 1);
        lone.filter(is_bucket)
    }

    /// Returns whether there is one.
    pub fn is_bucket(&self) -> bool {
        self.lone_bucket().is_some()
    }

    /// Returns each limit with its key of `caller`.
    pub fn keys<'a>(&'a self, caller: &'a str) -> impl Iterator<Item = (String, &'a Limit)> + 'a {
        let is_bucket = self.is_bucket();
        let key = move |limit: &Limit| match is_bucket {
            true => caller.to_owned(),
            // A limit of another kind or length finds a key of its own, whatever was there before.
            // One hash tag keeps a caller's keys in one slot of a cluster.
            false => format!("{{{caller}}}:{}", limit.name),
        };
        self.limits.iter().map(move |limit| (key(limit), limit))
    }

    /// Returns a key of `caller`, by which a cluster finds all of them.
    pub fn route(&self, caller: &str) -> String {
        let first = self.keys(caller).next();
        first.map(|(key, _)| key).unwrap_or_default()
    }

    /// Returns the command that takes from every limit, or from none.
    pub fn take(&self, ask: &Ask) -> Cmd {
        if let Some(bucket) = self.lone_bucket() {
            let mut take = cmd("RL.TAKE");
            take.arg(&ask.caller).arg(&bucket.words);
            return take.arg("COST").arg(ask.cost).take();
        }
        let mut take = cmd("RL.ALL");
        take.arg(self.limits.len());
        for (key, _) in self.keys(&ask.caller) {
            take.arg(key);
        }
        for limit in &self.limits {
            limit.add_to(&mut take, ask);
        }
        take
    }

    /// Returns a call of the same command as [`Demand::take`], on a key of `caller`, that changes
    /// nothing: the module rejects its numbers.
    pub fn probe(&self, caller: &str) -> Cmd {
        let (key, rejected) = (self.route(caller), ["probe", "1"]);
        match self.is_bucket() {
            true => cmd("RL.TAKE").arg(key).arg(&rejected).take(),
            false => {
                let mut probe = cmd("RL.ALL");
                probe.arg(1).arg(key).arg("BUCKET").arg(&rejected).take()
            }
        }
    }

    /// Returns the interval between two renewals; `None` if there is nothing to renew.
    pub fn renew_every(&self) -> Option<Duration> {
        let ttls = self.limits.iter().filter_map(Limit::ttl);
        ttls.min().map(|ttl| ttl / RENEWALS)
    }
}
