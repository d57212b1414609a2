"""The table of test vectors that every language holds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from redis_rl import Caller, fields
from redis_rl.caller import canonical, parse_address
from redis_rl.decision import decision
from redis_rl.failure import Ask, LocalBuckets
from redis_rl.rate import rate

VECTORS = json.loads((Path(__file__).parents[2] / "vectors.json").read_text())


def text(given: str, prefix: int) -> str | None:
    address = parse_address(given)
    return canonical(address, prefix) if address else None


@pytest.mark.parametrize("given, expected", VECTORS["addresses"])
def test_address_has_one_text(given: str, expected: str | None) -> None:
    assert text(given, 64) == expected


@pytest.mark.parametrize("prefix, given, expected", VECTORS["prefixes"])
def test_ipv6_is_cut_at_its_prefix(prefix: int, given: str, expected: str) -> None:
    assert text(given, prefix) == expected


@pytest.mark.parametrize("row", VECTORS["keys"], ids=lambda row: row["why"])
def test_request_has_one_key(row: dict) -> None:
    arguments = {name: row[name] for name in ("trusted", "ipv6_prefix", "prefix") if name in row}
    caller = Caller(header="X-Api-Key", **arguments)
    assert caller.key(row["peer"], row.get("forwarded", []), row.get("header", [])) == row["key"]


@pytest.mark.parametrize("given, burst, seconds", VECTORS["rates"])
def test_rate_fills_its_burst(given: str, burst: int, seconds: int) -> None:
    assert rate(given).fill_seconds(burst) == seconds


@pytest.mark.parametrize("given", VECTORS["not_rates"])
def test_what_is_no_rate_is_an_error(given: str) -> None:
    with pytest.raises(ValueError):
        rate(given)


@pytest.mark.parametrize("row", VECTORS["fields"], ids=lambda row: str(row["reply"]))
def test_fields_follow_the_reply(row: dict) -> None:
    got = dict(fields.of(decision(row["reply"]), fields.policy(rate("100/m"), 20)))
    expected = {"RateLimit-Policy": row["policy"], "RateLimit": row["state"]}
    if row["retry"]:
        expected["Retry-After"] = row["retry"]
    assert got == expected


def test_local_bucket_takes_as_everywhere() -> None:
    local = VECTORS["local"]
    buckets = LocalBuckets(local["share"])
    for at_ms, options, allowed, remaining in local["takes"]:
        got = buckets.take(Ask("k", rate(local["rate"]), local["burst"], **options), at_ms / 1000)
        assert (got.allowed, got.remaining) == (allowed, remaining), (at_ms, options)
