"""Every command from redis-py's RedisCluster, as the user app: before, while and after a slot moves.

Arguments: host:port,... key...
"""

import signal
import sys

from redis.cluster import ClusterNode, RedisCluster

addresses, *keys = sys.argv[1:]
nodes = [ClusterNode(host, int(port)) for host, port in (a.split(":") for a in addresses.split(","))]
client = RedisCluster(
    startup_nodes=nodes, username="app", password="secret", socket_timeout=60
)

# Without a right that it needs, it might try again for ever.
signal.alarm(120)

for moment in ("before", "while", "after"):
    for key in (f"{key}:{moment}" for key in keys):
        assert client.execute_command("RL.TAKE", key, "1/d", 99)[0] == 1
        assert client.execute_command("RL.PEEK", key, "1/d", 99)[0] == 1
        assert client.execute_command("RL.GIVE", key, "1/d", 99)[0] == 1
        # Of several new keys in a slot that moves, a server says TRYAGAIN.
        if moment == "while":
            continue
        many = ("RL.MTAKE", 2, key + ":2", "1/d", 99, key + ":3", "1/d", 99)
        assert client.execute_command(*many)[0] == 1
    print("taken", flush=True)
    sys.stdin.readline()
