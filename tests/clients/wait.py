"""Waits for a slot from redis-py's RedisCluster, and prints whether it got one.

Arguments: host:port,... key
"""

import signal
import sys

from redis.cluster import ClusterNode, RedisCluster

addresses, key = sys.argv[1:]
nodes = [ClusterNode(host, int(port)) for host, port in (a.split(":") for a in addresses.split(","))]
client = RedisCluster(startup_nodes=nodes, socket_timeout=400)
signal.alarm(300)
print(client.execute_command("RL.ACQUIRE", key, 1, "1h", "py", "WAIT", 300_000)[0])
