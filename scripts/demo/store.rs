//! The store that counts in Redis: `RL.TAKE`, or `RL.MTAKE` where there are several limits.

use std::time::Duration;

use redis::{Cmd, ErrorKind, FromRedisValue, RedisResult};

use crate::connection::Link;
use crate::limiter::{Demand, Limit, Standing, Store, Take};

/// The five integers of a reply: taken, limit, remaining, wait_ms, reset_ms.
type Five = (i64, i64, i64, i64, i64);

/// Buckets in a server, or servers, with the module.
pub struct Buckets(pub Link);

impl Store for Buckets {
    async fn take(&self, key: &str, demand: &Demand) -> RedisResult<Take> {
        if let [limit] = demand.limits.as_slice() {
            let reply = self.0.call(take(key, limit, demand), key).await?;
            let reply = reply.extract_error()?;
            let five = Five::from_redis_value(reply)?;
            return answer(five.0, five.3, &[five], demand);
        }
        // One hash tag keeps a caller's buckets in one slot of a cluster.
        let key = format!("{{{key}}}");
        let reply = self.0.call(take_all(&key, demand), &key).await?;
        let reply = reply.extract_error()?;
        let (taken, wait_ms, fives) = <(i64, i64, Vec<Five>)>::from_redis_value(reply)?;
        answer(taken, wait_ms, &fives, demand)
    }
}

fn take(key: &str, limit: &Limit, demand: &Demand) -> Cmd {
    let mut command = redis::cmd("RL.TAKE");
    command.arg(key).arg(&limit.rate).arg(limit.burst);
    command.arg("COST").arg(demand.cost);
    if let Some(wait) = demand.max_wait {
        command.arg("MAXWAIT").arg(wait.as_millis() as u64);
    }
    command
}

fn take_all(key: &str, demand: &Demand) -> Cmd {
    let mut command = redis::cmd("RL.MTAKE");
    command.arg(demand.limits.len());
    for limit in &demand.limits {
        command.arg(format!("{key}:{}", limit.name));
        command.arg(&limit.rate).arg(limit.burst);
    }
    command.arg("COST").arg(demand.cost);
    command
}

/// Whatever is not an answer to what was asked is an error, so that nobody is refused by mistake.
fn answer(taken: i64, wait_ms: i64, fives: &[Five], demand: &Demand) -> RedisResult<Take> {
    let bursts = demand.limits.iter().map(|limit| limit.burst as i64);
    if wait_ms < 0 || !bursts.eq(fives.iter().map(|five| five.1)) {
        return Err((ErrorKind::UnexpectedReturnType, "not a reply of RL.TAKE").into());
    }
    let standing = |&(_, _, remaining, _, reset_ms): &Five| Standing {
        remaining: remaining.unsigned_abs(),
        reset: Duration::from_millis(reset_ms.unsigned_abs()),
    };
    Ok(Take {
        allowed: taken > 0,
        wait: Duration::from_millis(wait_ms.unsigned_abs()),
        standings: fives.iter().map(standing).collect(),
    })
}
