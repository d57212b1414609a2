//! A worker that does its work only while it holds one of at most 5 slots, by RL.ACQUIRE … WAIT.

use std::future::Future;
use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{cmd, AsyncConnectionConfig, Client, RedisResult};
use tokio::time::{interval, sleep, sleep_until, Instant};

const KEY: &str = "slots:reports";
const LIMIT: u32 = 5;
const WAIT: Duration = Duration::from_secs(60);

/// A slot that somebody holds.
struct Lease {
    redis: ConnectionManager,
    ttl: Duration,
    token: String,
    ends: Instant,
}

impl Lease {
    /// Waits in the server until there is a slot, over a connection of its own.
    async fn acquire(
        client: &Client,
        redis: ConnectionManager,
        ttl: Duration,
        token: String,
    ) -> RedisResult<Self> {
        let patience = WAIT + Duration::from_secs(10);
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(patience));
        let mut line = client
            .get_multiplexed_async_connection_with_config(&config)
            .await?;
        let mut lease = Self {
            redis,
            ttl,
            token,
            ends: Instant::now(),
        };
        loop {
            let mut call = cmd("RL.ACQUIRE");
            call.arg(KEY).arg(LIMIT).arg(millis(ttl)).arg(&lease.token);
            call.arg("WAIT").arg(WAIT.as_millis() as u64);
            let (taken, _, _, wait_ms, _): (bool, i64, i64, i64, i64) =
                call.query_async(&mut line).await?;
            // The lease began at an unknown time during the wait; a renewal begins at a known one.
            if taken && lease.renew().await? > 0 {
                return Ok(lease);
            }
            if !taken {
                // The wait is over, or too many callers wait already.
                sleep(Duration::from_millis(wait_ms.clamp(10, 1000) as u64)).await;
            }
        }
    }

    /// Does the work while the lease holds; `None` if it ended first, and the work was dropped at
    /// the place where it waited.
    async fn hold<T>(mut self, work: impl Future<Output = T>) -> Option<T> {
        let done = tokio::select! {
            done = work => Some(done),
            () = self.lost() => None,
        };
        let mut release = cmd("RL.RELEASE");
        let release = release.arg(KEY).arg(&self.token);
        // If this fails, the slot is freed at its end.
        if let Err(error) = release.query_async::<()>(&mut self.redis).await {
            eprintln!("no release: {error}");
        }
        done
    }

    /// Renews at a third of the time, so that two renewals may fail; returns when it has ended.
    async fn lost(&mut self) {
        let mut beat = interval(self.ttl / 3);
        beat.tick().await; // The first is due at once.
        loop {
            let ends = self.ends;
            tokio::select! {
                // Ends by this machine's clock if no renewal arrived.
                () = sleep_until(ends) => return,
                renewed = async { beat.tick().await; self.renew().await } => match renewed {
                    Ok(0) => return,
                    Ok(_) => {}
                    Err(error) => eprintln!("no renewal: {error}"), // The lease still runs.
                },
            }
        }
    }

    async fn renew(&mut self) -> RedisResult<u64> {
        let asked = Instant::now();
        let mut call = cmd("RL.RENEW");
        call.arg(KEY).arg(millis(self.ttl)).arg(&self.token);
        let renewed = call.query_async(&mut self.redis).await?;
        if renewed > 0 {
            // Measured from before the call, so it ends here before it ends in the server.
            self.ends = asked + self.ttl;
        }
        Ok(renewed)
    }
}

fn millis(ttl: Duration) -> String {
    format!("{}ms", ttl.as_millis())
}

fn setting(name: &str, default: u64) -> u64 {
    let text = std::env::var(name).ok();
    text.and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[tokio::main]
async fn main() -> RedisResult<()> {
    // Some ten times the longest pause of a process.
    let ttl = Duration::from_millis(setting("TTL_MS", 30_000));
    let client = Client::open(std::env::var("REDIS_URL").expect("REDIS_URL"))?;
    let config = ConnectionManagerConfig::new()
        .set_number_of_retries(0)
        .set_response_timeout(Some(ttl / 3));
    let redis = ConnectionManager::new_with_config(client.clone(), config).await?;
    // Unique to the work: the process, and when it began.
    let began = std::time::SystemTime::UNIX_EPOCH
        .elapsed()
        .expect("a time after 1970");
    let token = format!("{}-{}", std::process::id(), began.as_nanos());
    let lease = Lease::acquire(&client, redis, ttl, token).await?;
    println!("working");
    let work = async {
        for _ in 0..setting("STEPS", 100) {
            sleep(Duration::from_millis(50)).await; // The work.
        }
    };
    match lease.hold(work).await {
        Some(()) => println!("done"),
        None => println!("stopped: the lease has ended"),
    }
    Ok(())
}
