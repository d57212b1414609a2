//! The store that counts in Redis, by the module's commands.

use std::future::Future;
use std::time::Duration;

use redis::{FromRedisValue, Value};
use tokio::time::timeout;

use super::traits::{Answer, Answering, Owed, Store, StoreError};
use crate::census::{count, Census};
use crate::limit::{Ask, Demand, Limit, Standing};
use crate::link::Link;

/// The timeout of whatever is asked for an operator.
const PATIENCE: Duration = Duration::from_secs(1);

/// The five integers of a reply: taken, limit, remaining, wait_ms, reset_ms.
type Five = [i64; 5];

/// The holders of slots: tokens with the milliseconds left.
type Holders = Vec<(Vec<u8>, u64)>;

/// Limits in a server, or servers, with the module.
pub struct Remote {
    pub link: Link,
    /// Its address for display.
    pub name: String,
}

impl Remote {
    async fn peek_at(&self, key: &str, limit: &Limit) -> Result<(Standing, Holders), StoreError> {
        let reply = self.link.call(limit.peek(key), key).await?;
        let mut told = Vec::<Value>::from_redis_value(reply)?.into_iter();
        let five = Value::Array(told.by_ref().take(5).collect());
        let holders = told.next().map(Holders::from_redis_value).transpose()?;
        let standing = Five::from_redis_value(five)?.into();
        Ok((standing, holders.unwrap_or_default()))
    }

    async fn peek_all(&self, demand: &Demand, caller: &str) -> Result<Vec<Standing>, StoreError> {
        let mut standings = Vec::new();
        for (key, limit) in demand.keys(caller) {
            standings.push(self.peek_at(&key, limit).await?.0);
        }
        Ok(standings)
    }

    /// Resets a caller with the limits' own commands, which refuse a key that holds anything else.
    async fn reset_all(&self, demand: &Demand, caller: &str) -> Result<(), StoreError> {
        // A refusal comes before anything is changed.
        self.peek_all(demand, caller).await?;
        for (key, limit) in demand.keys(caller) {
            if let Some(reset) = limit.reset(&key) {
                self.link.call(reset, &key).await?;
                continue;
            }
            loop {
                let (_, holders) = self.peek_at(&key, limit).await?;
                if holders.is_empty() {
                    break;
                }
                let tokens: Vec<_> = holders.into_iter().map(|(token, _)| token).collect();
                let mut release = redis::cmd("RL.RELEASE");
                self.link
                    .call(release.arg(&key).arg(tokens).take(), &key)
                    .await?;
            }
        }
        Ok(())
    }
}

impl Store for Remote {
    fn take<'a>(&'a self, demand: &'a Demand, ask: &'a Ask) -> Answering<'a, Answer> {
        Box::pin(async {
            let route = demand.route(&ask.caller);
            let reply = self.link.call(demand.take(ask), route).await?;
            let (taken, fives) = match demand.is_bucket() {
                true => Five::from_redis_value(reply).map(|five| (five[0], vec![five])),
                false => <(i64, i64, Vec<Five>)>::from_redis_value(reply).map(|all| (all.0, all.2)),
            }?;
            // A reply that does not match the request denies nobody.
            let quotas = demand.limits.iter().map(|limit| limit.quota as i64);
            if !quotas.eq(fives.iter().map(|five| five[1])) {
                return Err("not a reply of redis-rl".into());
            }
            Ok(Answer {
                allowed: taken > 0,
                standings: fives.into_iter().map(Standing::from).collect(),
            })
        })
    }

    /// Sends each command, even after a failure; returns the first error.
    fn give_back<'a>(&'a self, demand: &'a Demand, ask: &'a Ask, owed: Owed) -> Answering<'a, ()> {
        Box::pin(async move {
            let mut all = Ok(());
            for (key, limit) in demand.keys(&ask.caller) {
                if owed == Owed::Everything || limit.ttl().is_some() {
                    let reply = self.link.call(limit.give_back(&key, ask), &key).await;
                    all = all.and(reply.map(drop));
                }
            }
            Ok(all?)
        })
    }

    fn renew<'a>(&'a self, demand: &'a Demand, ask: &'a Ask) -> Answering<'a, bool> {
        Box::pin(async {
            let mut all = true;
            for (key, slots) in demand.keys(&ask.caller) {
                if let Some(renew) = slots.renew(&key, ask) {
                    let reply = self.link.call(renew, &key).await?;
                    all &= i64::from_redis_value(reply)? > 0;
                }
            }
            Ok(all)
        })
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn is_up(&self) -> bool {
        self.link.is_up()
    }

    fn ready(&self) -> Answering<'_, ()> {
        Box::pin(in_time(async { Ok(self.link.check().await?) }))
    }

    fn census(&self) -> Answering<'_, Census> {
        Box::pin(in_time(async {
            Ok(count(&mut self.link.connection()?).await?)
        }))
    }

    fn peek<'a>(&'a self, demand: &'a Demand, caller: &'a str) -> Answering<'a, Vec<Standing>> {
        Box::pin(in_time(self.peek_all(demand, caller)))
    }

    fn reset<'a>(&'a self, demand: &'a Demand, caller: &'a str) -> Answering<'a, ()> {
        Box::pin(in_time(self.reset_all(demand, caller)))
    }
}

async fn in_time<T>(answer: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    timeout(PATIENCE, answer).await?
}
