"""Takes tokens as fast as it can until its input ends, then tells how many it was given.

Arguments: sentinel|cluster host:port,... rate burst key...
Output: the line `started` with the first answer, then of `taken <key> <tokens>` and
`error <code> <count>`.
"""

import collections
import sys
import threading
import time

import redis
from redis.cluster import ClusterNode, RedisCluster
from redis.sentinel import Sentinel

kind, addresses, rate, burst, *keys = sys.argv[1:]
addresses = [(host, int(port)) for host, port in (a.split(":") for a in addresses.split(","))]
taken = collections.Counter()
errors = collections.Counter()
ended = threading.Event()


def wait_for_end():
    sys.stdin.read()
    ended.set()


def take(client, key):
    # A key that names two buckets of one slot is taken from both or from none.
    if "+" in key:
        first, second = key.split("+")
        reply = client.execute_command("RL.MTAKE", 2, first, rate, burst, second, rate, burst)
        taken[first] += reply[0]
        taken[second] += reply[0]
    else:
        taken[key] += client.execute_command("RL.TAKE", key, rate, burst)[0]


def connect():
    if kind == "sentinel":
        return Sentinel(addresses, socket_timeout=1).master_for("limits", socket_timeout=1)
    # A node that stalls must not look like one that died.
    return RedisCluster(startup_nodes=[ClusterNode(*a) for a in addresses], socket_timeout=30)


client = connect()
threading.Thread(target=wait_for_end, daemon=True).start()
started = False
while not ended.is_set():
    for key in keys:
        try:
            take(client, key)
            if not started:
                print("started", flush=True)
                started = True
        except redis.ResponseError as error:
            errors[getattr(error, "status_code", None) or str(error).split(" ")[0]] += 1
        except (redis.RedisError, OSError):
            errors["connection"] += 1
            # The servers need the processor to settle who is the master now.
            time.sleep(0.005)
for key, tokens in taken.items():
    print("taken", key, tokens)
for code, count in errors.items():
    print("error", code, count)
