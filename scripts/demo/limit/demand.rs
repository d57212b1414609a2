//! All the limits of a demo, and the one command that takes from every one of them or from none.

use std::time::Duration;

use super::{command, Ask, Bucket, Command, Lease, Limit};

/// The limits of every request.
pub struct Demand {
    pub limits: Vec<Box<dyn Limit>>,
}

impl Demand {
    /// Returns the bucket, if there is no other limit.
    pub fn lone_bucket(&self) -> Option<&Bucket> {
        match self.limits.as_slice() {
            [limit] => limit.bucket(),
            _ => None,
        }
    }

    /// Returns the keys of `caller`, one for each limit.
    pub fn keys<'a>(&'a self, caller: &'a str) -> impl Iterator<Item = String> + 'a {
        let alone = self.lone_bucket().is_some();
        self.limits.iter().map(move |limit| match alone {
            true => caller.to_owned(),
            // A limit of another kind or length finds a key of its own, whatever was there before.
            // One hash tag keeps a caller's keys in one slot of a cluster.
            false => format!("{{{caller}}}:{}", limit.name()),
        })
    }

    /// Returns the command that takes from every limit, or from none.
    pub fn take(&self, ask: &Ask) -> Command {
        if let Some(bucket) = self.lone_bucket() {
            return bucket.take(&ask.caller, ask);
        }
        let mut command = command(["RL.ALL", &self.limits.len().to_string()]);
        command.extend(self.keys(&ask.caller));
        command.extend(self.limits.iter().flat_map(|limit| limit.spec(ask)));
        command
    }

    /// Returns a call of the same command as [`Demand::take`], on a key of `caller`, that changes
    /// nothing: the module rejects its numbers.
    pub fn probe(&self, caller: &str) -> Command {
        let key = self.keys(caller).next().unwrap_or_default();
        match self.lone_bucket() {
            Some(_) => command(["RL.TAKE", &key, "probe", "1"]),
            None => command(["RL.ALL", "1", &key, "BUCKET", "probe", "1"]),
        }
    }

    /// Returns the commands that refund `ask`, each with its key.
    pub fn give_back(&self, ask: &Ask) -> Vec<(Command, String)> {
        self.keys(&ask.caller)
            .zip(&self.limits)
            .map(|(key, limit)| (limit.give_back(&key, ask), key))
            .collect()
    }

    /// Returns the commands that release what is held while the request is served.
    pub fn release(&self, ask: &Ask) -> Vec<(Command, String)> {
        self.leases(&ask.caller)
            .map(|(key, lease)| (lease.release(&key, &ask.token), key))
            .collect()
    }

    /// Returns the commands that renew it.
    pub fn renew(&self, ask: &Ask) -> Vec<(Command, String)> {
        self.leases(&ask.caller)
            .map(|(key, lease)| (lease.renew(&key, &ask.token), key))
            .collect()
    }

    /// Returns the interval between two renewals; `None` if there is nothing to renew.
    pub fn renew_every(&self) -> Option<Duration> {
        let leases = self.limits.iter().filter_map(|limit| limit.lease());
        leases.map(Lease::renew_every).min()
    }

    fn leases<'a>(&'a self, caller: &'a str) -> impl Iterator<Item = (String, &'a Lease)> + 'a {
        let limits = self.keys(caller).zip(&self.limits);
        limits.filter_map(|(key, limit)| Some((key, limit.lease()?)))
    }
}
