use super::*;
use crate::limit::Command;

/// A limit of another kind.
struct Other;

impl Limit for Other {
    fn name(&self) -> &str {
        "other"
    }
    fn kind(&self) -> &'static str {
        "other"
    }
    fn look(&self, _: &str) -> Command {
        Vec::new()
    }
    fn quota(&self) -> u64 {
        1
    }
    fn window(&self) -> Option<Duration> {
        None
    }
    fn words(&self, _: u64) -> String {
        String::new()
    }
    fn spec(&self, _: &Ask) -> Command {
        Vec::new()
    }
    fn give_back(&self, _: &str, _: &Ask) -> Command {
        Vec::new()
    }
    fn reset(&self, _: &str) -> Option<Command> {
        None
    }
    fn until_more(&self, _: Standing) -> Option<Duration> {
        None
    }
}

fn bucket(rate: &str, burst: &str) -> Box<dyn Limit> {
    Box::new(crate::limit::Bucket::new("b", rate, burst).expect("a limit"))
}

#[test]
fn other_limits_than_buckets_are_refused() {
    assert!(Memory::new(&[bucket("1", "1")]).is_ok());
    let mixed = Memory::new(&[bucket("1", "1"), Box::new(Other)]);
    let why = mixed.err().expect("a refusal");
    assert_eq!(why, "--store memory has buckets only, which other is not");
}

#[test]
fn buckets_that_are_full_again_take_no_memory() {
    let demand = Demand {
        limits: vec![bucket("1000000", "1")],
        max_wait: None,
    };
    let memory = Memory::new(&demand.limits).expect("buckets");
    for i in 0..10 * FEW_BUCKETS {
        let ask = Ask {
            caller: i.to_string(),
            cost: 1,
            max_wait: None,
            token: String::new(),
            asked_at: 0,
        };
        let taken = memory.take_now(&demand, &ask);
        assert!(taken.is_ok_and(|answer| answer.allowed));
    }
    // Each is full a millisecond later, and those of the last milliseconds are few.
    assert!(memory.state().buckets.len() <= 8 * FEW_BUCKETS);
}
