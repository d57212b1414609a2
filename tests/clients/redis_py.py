"""The commands from redis-py. Argument: the server's port."""

import sys

import redis

for protocol in (2, 3):
    client = redis.Redis(port=int(sys.argv[1]), protocol=protocol)
    key = b"user:\xff%d" % protocol
    take = lambda *options: client.execute_command("RL.TAKE", key, "1/d", 2, *options)
    assert take() == [1, 2, 1, 0, 86400000], take()
    assert take("COST", 1)[:4] == [1, 2, 0, 0]
    taken, limit, remaining, wait_ms, reset_ms = take()
    assert (taken, limit, remaining) == (0, 2, 0)
    assert 0 < wait_ms <= 86400000 < reset_ms <= 2 * 86400000, (wait_ms, reset_ms)

    pipeline = client.pipeline(transaction=True)
    pipeline.execute_command("RL.TAKE", "piped", "1/d", 9)
    pipeline.execute_command("RL.TAKE", "piped", "1/d", 9)
    assert [reply[0] for reply in pipeline.execute()] == [1, 1]

    try:
        client.execute_command("RL.TAKE", key, "nan", 2)
        raise SystemExit("nan was taken for a rate")
    except redis.ResponseError as error:
        assert "rate must be" in str(error), error
