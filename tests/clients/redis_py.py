"""Every command from redis-py. Argument: the server's port."""

import sys

import redis

DAY = 86400000


def check(client, key):
    def call(name, *options, on=key, burst=2):
        return client.execute_command(name, on, "1/d", burst, *options)

    assert call("RL.PEEK") == [1, 2, 2, 0, 0]
    assert call("RL.TAKE") == [1, 2, 1, 0, DAY]
    assert call("RL.TAKE", "COST", 1)[:4] == [1, 2, 0, 0]
    taken, limit, remaining, wait_ms, reset_ms = call("RL.TAKE")
    assert (taken, limit, remaining) == (0, 2, 0)
    assert 0 < wait_ms <= DAY < reset_ms <= 2 * DAY, (wait_ms, reset_ms)
    assert call("RL.GIVE", "COST", 1)[:3] == [1, 2, 1]
    assert call("RL.TAKE", "COST", 2, "ATMOST")[:4] == [1, 2, 0, 0]
    taken, _, _, wait_ms, _ = call("RL.TAKE", "MAXWAIT", DAY)
    assert taken == 1 and 0 < wait_ms <= DAY
    assert call("RL.TAKE", "COST", 9, "FORCE")[:3] == [9, 2, 0]

    many = ("RL.MTAKE", 2, key + b":s", "1/d", 5, key + b":d", "1/d", 9, "COST", 2)
    assert client.execute_command(*many) == [
        2,
        0,
        [[2, 5, 3, 0, 2 * DAY], [2, 9, 7, 0, 2 * DAY]],
    ]
    assert client.execute_command("CL.THROTTLE", key + b":cl", 2, 1, 86400) == [0, 3, 2, -1, 86400]

    pipeline = client.pipeline(transaction=True)
    pipeline.execute_command("RL.TAKE", key + b":piped", "1/d", 9)
    pipeline.execute_command("RL.TAKE", key + b":piped", "1/d", 9)
    assert [reply[0] for reply in pipeline.execute()] == [1, 1]

    try:
        client.execute_command("RL.TAKE", key, "nan", 2)
    except redis.ResponseError as error:
        assert "rate must be" in str(error), error
    else:
        raise AssertionError("nan was taken for a rate")


for protocol in (2, 3):
    client = redis.Redis(port=int(sys.argv[1]), protocol=protocol, socket_timeout=60)
    check(client, b"user:\xff%d" % protocol)
