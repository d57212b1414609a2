//! The store that counts in Redis, by the module's commands.

use std::time::Duration;

use redis::{Cmd, FromRedisValue, RedisError, RedisResult, Value};
use tokio::time::timeout;

use super::{Answer, Answering, Census, Look, Store, StoreError};
use crate::census::count;
use crate::connection::Link;
use crate::limit::{Ask, Command, Demand, Limit, Standing};

/// The timeout of reading the servers' counters.
const PATIENCE: Duration = Duration::from_secs(1);

/// The five integers of a reply: taken, limit, remaining, wait_ms, reset_ms.
type Five = (i64, i64, i64, i64, i64);

/// The holders of slots: tokens with the milliseconds left.
type Holders = Vec<(Vec<u8>, u64)>;

/// Limits in a server, or servers, with the module.
pub struct Remote {
    pub link: Link,
    /// Its address for display.
    pub name: String,
}

impl From<RedisError> for StoreError {
    fn from(error: RedisError) -> Self {
        if error.code().is_some() {
            Self::Refused(error.to_string())
        } else {
            Self::Unavailable(error.to_string())
        }
    }
}

impl From<redis::ParsingError> for StoreError {
    fn from(error: redis::ParsingError) -> Self {
        Self::Nonsense(error.to_string())
    }
}

/// Returns a command for the client library.
pub fn packed(words: &Command) -> Cmd {
    let mut command = Cmd::new();
    for word in words {
        command.arg(word);
    }
    command
}

impl Remote {
    async fn ask(&self, demand: &Demand, ask: &Ask) -> Result<Answer, StoreError> {
        let routed = demand.keys(&ask.caller).next().unwrap_or_default();
        let reply = self.link.call(packed(&demand.take(ask)), routed).await?;
        if demand.lone_bucket().is_some() {
            let five = Five::from_redis_value(reply)?;
            return answer(five.0, &[five], demand);
        }
        let (taken, _, fives) = <(i64, i64, Vec<Five>)>::from_redis_value(reply)?;
        answer(taken, &fives, demand)
    }

    /// Sends each command, even after a failure; returns the first error.
    async fn call_each(&self, commands: Vec<(Command, String)>) -> Result<(), StoreError> {
        let mut all = Ok(());
        for (command, key) in commands {
            let reply = self.link.call(packed(&command), key).await;
            all = all.and(reply.map(drop));
        }
        Ok(all?)
    }

    async fn look_at(&self, demand: &Demand, caller: &str) -> Result<Vec<Look>, StoreError> {
        let mut looks = Vec::new();
        for (key, limit) in demand.keys(caller).zip(&demand.limits) {
            let (look, _) = self.look_at_one(&key, limit.as_ref()).await?;
            looks.push(look);
        }
        Ok(looks)
    }

    async fn look_at_one(
        &self,
        key: &str,
        limit: &dyn Limit,
    ) -> Result<(Look, Holders), StoreError> {
        let reply = self.link.call(packed(&limit.look(key)), key).await?;
        let mut told = Vec::<Value>::from_redis_value(reply)?.into_iter();
        let five = Value::Array(told.by_ref().take(5).collect());
        let (_, _, remaining, wait, reset) = Five::from_redis_value(five)?;
        let holders = told.next().map(Holders::from_redis_value).transpose()?;
        let holders = holders.unwrap_or_default();
        let look = Look {
            remaining: remaining.unsigned_abs(),
            wait_ms: u64::try_from(wait).ok(),
            reset_ms: reset.unsigned_abs(),
        };
        Ok((look, holders))
    }

    /// Resets with the limits' own commands, which refuse a key that holds anything else.
    async fn reset_all(&self, demand: &Demand, caller: &str) -> Result<(), StoreError> {
        // A refusal comes before anything is changed.
        self.look_at(demand, caller).await?;
        for (key, limit) in demand.keys(caller).zip(&demand.limits) {
            if let Some(reset) = limit.reset(&key) {
                self.link.call(packed(&reset), &key).await?;
                continue;
            }
            loop {
                let (_, holders) = self.look_at_one(&key, limit.as_ref()).await?;
                if holders.is_empty() {
                    break;
                }
                let mut release = redis::cmd("RL.RELEASE");
                release.arg(&key);
                for (token, _) in holders {
                    release.arg(token);
                }
                self.link.call(release, &key).await?;
            }
        }
        Ok(())
    }
}

impl Store for Remote {
    fn take<'a>(&'a self, demand: &'a Demand, ask: &'a Ask) -> Answering<'a, Answer> {
        Box::pin(self.ask(demand, ask))
    }

    fn give_back<'a>(&'a self, demand: &'a Demand, ask: &'a Ask) -> Answering<'a, ()> {
        Box::pin(self.call_each(demand.give_back(ask)))
    }

    fn release<'a>(&'a self, demand: &'a Demand, ask: &'a Ask) -> Answering<'a, ()> {
        Box::pin(self.call_each(demand.release(ask)))
    }

    fn renew<'a>(&'a self, demand: &'a Demand, ask: &'a Ask) -> Answering<'a, bool> {
        Box::pin(async {
            let mut all = true;
            for (command, key) in demand.renew(ask) {
                let reply = self.link.call(packed(&command), key).await?;
                all &= i64::from_redis_value(reply)? > 0;
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
        Box::pin(async {
            let check = timeout(PATIENCE, self.link.check()).await;
            Ok(check.unwrap_or_else(|_| late())?)
        })
    }

    fn census(&self) -> Answering<'_, Census> {
        Box::pin(async {
            let mut connection = self.link.connection()?;
            let census = timeout(PATIENCE, count(&mut connection)).await;
            census.unwrap_or_else(|_| Ok(late()?))
        })
    }

    fn look<'a>(&'a self, demand: &'a Demand, caller: &'a str) -> Answering<'a, Vec<Look>> {
        Box::pin(async move {
            let look = timeout(PATIENCE, self.look_at(demand, caller)).await;
            look.unwrap_or_else(|_| Ok(late()?))
        })
    }

    fn reset<'a>(&'a self, demand: &'a Demand, caller: &'a str) -> Answering<'a, ()> {
        Box::pin(async move {
            let reset = timeout(PATIENCE, self.reset_all(demand, caller)).await;
            reset.unwrap_or_else(|_| Ok(late()?))
        })
    }
}

fn late<T>() -> RedisResult<T> {
    Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into())
}

/// Converts a reply. A reply that does not match the request is an error, so that nobody is denied
/// by mistake.
fn answer(taken: i64, fives: &[Five], demand: &Demand) -> Result<Answer, StoreError> {
    let quotas = demand.limits.iter().map(|limit| limit.about().quota as i64);
    if !quotas.eq(fives.iter().map(|five| five.1)) {
        let why = "not a reply of redis-rl";
        return Err(StoreError::Nonsense(why.to_owned()));
    }
    let standing = |&(allows, _, remaining, wait_ms, reset_ms): &Five| Standing {
        allows: allows > 0,
        remaining: remaining.unsigned_abs(),
        wait: millis(wait_ms),
        reset: millis(reset_ms).unwrap_or_default(),
    };
    Ok(Answer {
        allowed: taken > 0,
        standings: fives.iter().map(standing).collect(),
    })
}

/// `None` below zero, which stands for never.
fn millis(count: i64) -> Option<Duration> {
    u64::try_from(count).ok().map(Duration::from_millis)
}
