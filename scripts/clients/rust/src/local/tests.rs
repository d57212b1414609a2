//! Batches from a server that the test answers for, by a clock of its own.

use std::future::pending;

use redis::{Arg, Cmd, Pipeline, RedisFuture, Value};
use tokio::time::{advance, sleep, timeout};

use super::*;
use crate::Settings;

const MS: Duration = Duration::from_millis(1);

/// Allows everything, after `delay` or never.
#[derive(Clone)]
struct Fake {
    delay: Option<Duration>,
    calls: Arc<Mutex<Vec<(String, u64)>>>,
}

impl Fake {
    fn new(delay: Option<Duration>) -> Self {
        let calls = Arc::default();
        Self { delay, calls }
    }

    fn local(&self) -> Local<Self> {
        let settings = Settings {
            log: |_| {},
            ..Settings::default()
        };
        Local::new(Limiter::new(self.clone(), settings))
    }

    /// Returns each command and its cost.
    fn calls(&self) -> Vec<(String, u64)> {
        self.calls.lock().expect("no panic").clone()
    }
}

impl ConnectionLike for Fake {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        let words: Vec<_> = command
            .args_iter()
            .filter_map(|word| match word {
                Arg::Simple(word) => Some(String::from_utf8_lossy(word).into_owned()),
                _ => None,
            })
            .collect();
        let cost = words.iter().skip_while(|word| *word != "COST").nth(1);
        let cost = cost.map_or(1, |cost| cost.parse().expect("a cost"));
        let mut calls = self.calls.lock().expect("no panic");
        calls.push((words[0].clone(), cost));
        let delay = self.delay;
        Box::pin(async move {
            match delay {
                Some(delay) => sleep(delay).await,
                None => pending().await,
            }
            let reply = [i64::try_from(cost).expect("a cost"), 0, 0, 0, 0];
            Ok(Value::Array(reply.map(Value::Int).to_vec()))
        })
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        _: &'a Pipeline,
        _: usize,
        _: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        unimplemented!("the limiter sends no pipelines")
    }

    fn get_db(&self) -> i64 {
        0
    }
}

fn rate(text: &str) -> Rate {
    text.parse().expect("a rate")
}

async fn take(local: &Local<Fake>, rate: &Rate, burst: u64) -> Decision {
    let taken = local.take("k", rate, burst, 1).await;
    taken.expect("a decision")
}

/// Takes this many times at once.
async fn take_at_once(local: &Local<Fake>, times: usize, rate: &Rate, burst: u64) -> Vec<Decision> {
    let mut tasks = Vec::new();
    for _ in 0..times {
        let (local, rate) = (local.clone(), rate.clone());
        tasks.push(tokio::spawn(
            async move { take(&local, &rate, burst).await },
        ));
    }
    let mut decisions = Vec::new();
    for task in tasks {
        decisions.push(task.await.expect("no panic"));
    }
    decisions
}

/// The bucket might have been full, and have gained nothing: a full refund would admit its gain twice.
#[tokio::test(start_paused = true)]
async fn batch_is_refunded_at_its_end_less_the_gain_meanwhile() {
    let fake = Fake::new(Some(MS));
    let (local, rate) = (fake.local(), rate("90"));
    let got = take_at_once(&local, 301, &rate, 10_000).await;
    assert!(got.iter().all(|one| one.source == Source::Batch));
    // The first two of 302.
    assert_eq!(take(&local, &rate, 10_000).await.source, Source::Batch);
    assert_eq!(take(&local, &rate, 10_000).await.source, Source::Batch);
    sleep(HOLD).await;
    local.close().await;
    let calls = [
        ("RL.TAKE", 301),
        ("RL.TAKE", 302),
        // 13.5 tokens in 0.15 s.
        ("RL.GIVE", 300 - 14),
    ];
    assert_eq!(
        fake.calls(),
        calls.map(|(name, cost)| (name.to_owned(), cost))
    );
}

#[tokio::test(start_paused = true)]
async fn batch_is_at_most_an_eighth_of_the_burst() {
    let fake = Fake::new(Some(MS));
    take_at_once(&fake.local(), 3000, &rate("1/h"), 10_000).await;
    let costs: Vec<_> = fake.calls().into_iter().map(|(_, cost)| cost).collect();
    assert_eq!(costs, [1250, 1250, 1250]);
}

#[tokio::test(start_paused = true)]
async fn batch_is_not_spent_late() {
    let decision = crate::decision::decision([5, 10, 3, 0, 1000]);
    let stash = Stash::new("k", &rate("1"), 10);
    let mut batch = stash.batch.into_inner().expect("no panic");
    batch.begin(decision, Instant::now());
    advance(HOLD - MS).await;
    let spent = batch.spend(2).expect("tokens");
    assert_eq!((spent.taken, spent.remaining), (2, 3 + 3));
    assert_eq!(spent.reset_after, 901 * MS);
    assert_eq!((batch.spend(0), batch.spend(4)), (None, None));
    advance(MS).await;
    assert_eq!(batch.spend(2), None);
}

#[tokio::test(start_paused = true)]
async fn use_is_that_of_the_last_tenth_of_a_second() {
    let stash = Stash::new("k", &rate("1"), 10_000);
    let mut batch = stash.batch.into_inner().expect("no panic");
    for (pause, cost, size) in [(0, 400, 400), (100, 8, 408), (50, 2, 210), (200, 1, 1)] {
        advance(pause * MS).await;
        batch.count(cost);
        assert_eq!(batch.size(10_000), size);
    }
}

#[tokio::test(start_paused = true)]
async fn caller_that_is_gone_loses_no_batch() {
    let fake = Fake::new(Some(10 * MS));
    let (local, rate) = (fake.local(), rate("1/h"));
    take(&local, &rate, 10_000).await;
    let gone = timeout(MS, take(&local, &rate, 10_000)).await;
    assert!(gone.is_err());
    assert_eq!(take(&local, &rate, 10_000).await.source, Source::Batch);
    assert_eq!(fake.calls().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn call_without_an_answer_decides_about_those_that_wait_for_it() {
    let fake = Fake::new(None);
    let got = take_at_once(&fake.local(), 100, &rate("1/h"), 7).await;
    assert!(got.iter().all(|one| one.source == Source::Local));
    assert_eq!(got.iter().filter(|one| one.allowed).count(), 7);
    assert_eq!(fake.calls().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_longer_for_a_turn_than_for_ten_time_outs() {
    let fake = Fake::new(Some(40 * MS));
    let start = Instant::now();
    let got = take_at_once(&fake.local(), 100, &rate("1/h"), 7).await;
    let from = |source| got.iter().filter(|one| one.source == source).count();
    assert_eq!(from(Source::Server) + from(Source::Local), 100);
    assert_eq!(fake.calls().len(), from(Source::Server));
    assert!((12..=13).contains(&from(Source::Server)));
    assert!(start.elapsed() < 600 * MS);
}
