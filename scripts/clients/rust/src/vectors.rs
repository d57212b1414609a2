//! The table of test vectors that every language holds.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::caller::{canonical, parse_address};
use crate::failure::{Ask, LocalBuckets};
use crate::{decision, fields, Address, Caller, Options, Rate};

fn vectors() -> Value {
    serde_json::from_str(include_str!("../../vectors.json")).expect("JSON")
}

fn rows(table: &str) -> Vec<Value> {
    vectors()[table].as_array().expect("rows").clone()
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

/// Characters to U+00FF are the bytes of a header.
fn lines(value: &Value) -> Vec<Vec<u8>> {
    let lines = value.as_array().into_iter().flatten();
    lines
        .map(|line| text(line).chars().map(|c| c as u8).collect())
        .collect()
}

fn borrowed(lines: &[Vec<u8>]) -> Vec<&[u8]> {
    lines.iter().map(Vec::as_slice).collect()
}

#[test]
fn address_has_one_spelling() {
    for row in rows("addresses") {
        let got = parse_address(text(&row[0])).map(|address| canonical(address, 64));
        assert_eq!(got.as_deref(), row[1].as_str(), "{row}");
    }
}

#[test]
fn ipv6_is_cut_at_its_prefix() {
    for row in rows("prefixes") {
        let prefix = u8::try_from(row[0].as_u64().expect("a prefix")).expect("a prefix");
        let address = parse_address(text(&row[1])).expect("an address");
        assert_eq!(canonical(address, prefix), text(&row[2]));
    }
}

#[test]
fn a_request_has_one_key() {
    for row in rows("keys") {
        let mut caller = Caller::default().header("X-Api-Key");
        for network in row["trusted"].as_array().into_iter().flatten() {
            caller = caller.trust(text(network)).expect("a network");
        }
        if let Some(prefix) = row["ipv6_prefix"].as_u64() {
            caller = caller.ipv6_prefix(u8::try_from(prefix).expect("a prefix"));
        }
        if let Some(prefix) = row["prefix"].as_str() {
            caller = caller.prefix(prefix);
        }
        let peer = match row["peer"].as_str() {
            None => Address::Unix,
            Some(peer) => parse_address(peer).map_or(Address::Unknown, Address::Ip),
        };
        let (forwarded, header) = (lines(&row["forwarded"]), lines(&row["header"]));
        let key = caller.key(peer, &borrowed(&forwarded), &borrowed(&header));
        assert_eq!(key, text(&row["key"]), "{}", row["why"]);
    }
}

#[test]
fn a_rate_fills_its_burst() {
    for row in rows("rates") {
        let rate: Rate = text(&row[0]).parse().expect("a rate");
        let burst = row[1].as_u64().expect("a burst");
        assert_eq!(Some(rate.fill_seconds(burst)), row[2].as_u64(), "{row}");
    }
}

#[test]
fn invalid_rates_are_errors() {
    for row in rows("not_rates") {
        assert!(text(&row).parse::<Rate>().is_err(), "{row}");
    }
}

#[test]
fn fields_follow_the_reply() {
    for row in rows("fields") {
        let reply: Vec<i64> = row["reply"]
            .as_array()
            .expect("integers")
            .iter()
            .filter_map(Value::as_i64)
            .collect();
        let decision = decision::decision(reply.try_into().expect("five"));
        let rate = "100/m".parse().expect("a rate");
        let got = fields::of(&decision, &fields::policy(&rate, 20));
        let field = |name: &str| {
            got.iter()
                .find(|(field, _)| *field == name)
                .map(|(_, value)| value.as_str())
        };
        assert_eq!(field("ratelimit-policy"), row["policy"].as_str());
        assert_eq!(field("ratelimit"), row["state"].as_str());
        assert_eq!(field("retry-after"), row["retry"].as_str());
    }
}

#[test]
fn bucket_in_the_process_matches_the_vectors() {
    let local = &vectors()["local"];
    let mut buckets = LocalBuckets::new(local["share"].as_f64().expect("a share"));
    let start = Instant::now();
    for row in local["takes"].as_array().expect("takes") {
        let number = |name: &str, default| row[1][name].as_u64().unwrap_or(default);
        let flag = |name: &str| row[1][name].as_bool().unwrap_or(false);
        let options = Options {
            cost: number("cost", 1),
            keep: number("keep", 0),
            at_most: flag("atmost"),
            force: flag("force"),
            max_wait: None,
        };
        let ask = Ask {
            key: "k".to_owned(),
            rate: text(&local["rate"]).parse().expect("a rate"),
            burst: local["burst"].as_u64().expect("a burst"),
            options,
        };
        let now = start + Duration::from_millis(row[0].as_u64().expect("ms"));
        let got = buckets.take(&ask, now);
        assert_eq!(
            (Some(got.allowed), Some(got.remaining)),
            (row[2].as_bool(), row[3].as_u64()),
            "{row}"
        );
    }
}
