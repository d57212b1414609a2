"""The cost of a cut network. See scripts/cut_network.sh."""

import collections
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time

import redis

from holds import Holds, charged
from net import Net, until
from waiters import Waiters

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODULE = os.environ.get("REDIS_RL_MODULE", str(ROOT / "target/release/libredis_rl.so"))
RATE, BURST = 200, 3000
WINDOW, SLOTS = 2500, 300
TIMEOUT = 1500
# How long a reply may be on its way to a caller, in seconds.
REPLY_MARGIN = 0.5
FLAGS = ("--loadmodule", MODULE, "--appendonly", "yes", "--aof-use-rdb-preamble", "no",
         "--appendfsync", "no", "--save", "", "--repl-timeout", "3", "--repl-ping-replica-period", "1")


class Load:
    """Callers that take as fast as they can from the server that `find` returns."""

    def __init__(self, find):
        self.find, self.stop, self.last = find, False, 0.0
        self.bucket, self.window, self.leases = 0, 0, 0
        self.holds = Holds()
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.call, args=(n,), daemon=True) for n in range(2)]
        for thread in self.threads:
            thread.start()

    def call(self, number):
        count, client = 0, None
        while not self.stop:
            try:
                client = client or self.find().client()
                count += 1
                # One after the other, so that at most the last reply is lost.
                taken = client.execute_command("RL.TAKE", "{k}:b", RATE, BURST)[0]
                if taken:
                    self.last = time.monotonic()
                    self.add("bucket", taken)
                if count % 4 == 0:
                    taken = client.execute_command("RL.WTAKE", "{k}:w", WINDOW, "1h")[0]
                    self.add("window", taken)
                if count % 16 == 0:
                    token = f"{id(self)}-{number}-{count}"
                    taken = client.execute_command("RL.ACQUIRE", "{k}:l", SLOTS, "1h", token)[0]
                    self.add("leases", taken)
                self.holds.make(client)
            except (redis.RedisError, OSError, StopIteration):
                client = None
                time.sleep(0.005)

    def add(self, kind, taken):
        with self.lock:
            setattr(self, kind, getattr(self, kind) + taken)

    def end(self):
        self.stop = True
        for thread in self.threads:
            thread.join()


CHANGE = re.compile(rb"\r\n(\{k\}:[bw])\r\n\$(?:16|25)\r\n(.{16,25}?)\r\n\$(?:4\r\nPXAT|2\r\nXX)"
                    rb"|\r\n\$\d+\r\n(\d+-\d-\d+)\r\n", re.DOTALL)


def changes(log):
    """Returns (kind, value) of each take in an AOF, in order."""
    found = (match.groups() for match in CHANGE.finditer(log))
    return [(key[-1:], value) if key else (b"l", token) for key, value, token in found]


def not_shipped(old, new):
    """Returns {kind: number of takes that only the old master's AOF has}."""
    old, known = changes(old), set(changes(new))
    lost = collections.Counter(kind for kind, value in old if kind != b"w" and (kind, value) not in known)
    # Windows that continue from the same number look alike: the old master's are those after the
    # last take of another kind that both have.
    shared = max((at for at, take in enumerate(old) if take[0] != b"w" and take in known), default=-1)
    lost[b"w"] = sum(kind == b"w" for kind, _ in old[shared + 1:])
    return lost


def sentinel(net, binary, flags):
    """A master, two replicas, three sentinels: (master, the others, the current master)."""
    master = net.node(binary, *FLAGS, *flags)
    replicas = [net.node(binary, *FLAGS, *flags, "--replicaof", master.address, "6379")
                for _ in range(2)]
    watchers = [net.node(binary, "--sentinel", "--sentinel", "monitor", "limits", master.address, "6379", "2",
                         "--sentinel", "down-after-milliseconds", "limits", str(TIMEOUT),
                         "--sentinel", "failover-timeout", "limits", "6000") for _ in range(3)]
    until("the replicas follow", lambda: all(r.info("master_link_status") == "up" for r in replicas))
    for watcher in watchers:
        until("the sentinels agree", lambda: knows_all(watcher))

    def now():
        return next(r for r in replicas if r.info("role") == "master")
    return master, [*replicas, *watchers], replicas, now


def knows_all(watcher):
    pairs = watcher.ask_raw("SENTINEL", "MASTER", "limits")
    about = pairs if isinstance(pairs, dict) else dict(zip(pairs[::2], pairs[1::2]))
    return (str(about["num-other-sentinels"]), str(about["num-slaves"]), about["flags"]) == ("2", "2", "master")


def cluster(net, binary, flags):
    """Three masters; the first has the key and two replicas."""
    flags = (*flags, "--cluster-enabled", "yes", "--cluster-node-timeout", str(TIMEOUT),
             "--cluster-replica-validity-factor", "0")
    nodes = [net.node(binary, *FLAGS, *flags) for _ in range(5)]
    slot = nodes[0].ask("CLUSTER", "KEYSLOT", "{k}")
    shares = [range(0, 5461), range(5461, 10923), range(10923, 16384)]
    shares.sort(key=lambda share: slot not in share)
    for number, (node, share) in enumerate(zip(nodes, shares)):
        node.ask("CLUSTER", "ADDSLOTS", *share)
        node.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
    for node in nodes[1:]:
        node.ask("CLUSTER", "MEET", nodes[0].address, 6379)
    until("all know each other", lambda: all(len(n.ask_raw("CLUSTER", "NODES").splitlines()) == 5 and
                                             "handshake" not in n.ask_raw("CLUSTER", "NODES") for n in nodes))
    master, others = nodes[0], nodes[1:3]
    for replica in nodes[3:]:
        replica.ask("CLUSTER", "REPLICATE", master.ask("CLUSTER", "MYID"))
    until("the replicas follow", lambda: all(r.info("master_link_status") == "up" for r in nodes[3:]))
    until("the cluster is up", lambda: all("cluster_state:ok" in n.ask_raw("CLUSTER", "INFO") for n in nodes))

    def now():
        return next(r for r in nodes[3:] if r.info("role") == "master")
    return master, [*others, *nodes[3:]], nodes[3:], now


def flap(master, others, promoted):
    """Cuts and restores the link in turn, each for less than the timeout, until a promotion or for 10 s."""
    end = time.monotonic() + 10
    while time.monotonic() < end and not promoted():
        master.cut(others)
        pause = time.monotonic() + 0.7 * TIMEOUT / 1000
        until("it was cut for a while", lambda: time.monotonic() > pause)
        master.heal(others)
        pause = time.monotonic() + 0.3 * TIMEOUT / 1000
        until("it was whole for a while", lambda: time.monotonic() > pause)


CUTS = {
    "cut off from its peers": ("INPUT", "OUTPUT"),
    "hears its peers no more": ("INPUT",),
    "its peers hear it no more": ("OUTPUT",),
    "the link flaps": None,
    "hears and is heard late": None,
}


COLUMNS = ("the master", "min-replicas", "failover", "the old one admits for",
           "bucket: not shipped", "beyond", "window: not shipped", "beyond", "leases: not shipped", "beyond",
           "holds", "their window beyond what was used",
           "waits: granted", "denied", "ended", "unanswered", "granted while refused", "")


def row(*cells):
    print(f"| {' | '.join(map(str, cells))} |", flush=True)


def replicated(master):
    """Returns a time before which all that the master did has reached its replicas."""
    began = time.monotonic()
    with master.client() as client:
        client.set("{k}:mark", 1)
        # In a cluster one of the two may have gone to a master without any.
        until("the replicas follow", lambda: 0 < int(master.info("connected_slaves")) ==
              client.execute_command("WAIT", 2, 200))
    return began


def have_one_window(one, other):
    try:
        return charged(one) == charged(other)
    except redis.RedisError:
        return False  # While the cluster agrees on a master again, a node may refer to the other.


def is_linked(replica):
    try:
        return replica.info("master_link_status") == "up"
    except redis.RedisError:
        return False


def case(binary, form, cut, min_replicas):
    flags = ("--min-replicas-to-write", "1", "--min-replicas-max-lag", "1") if min_replicas else ()
    with Net() as net:
        master, others, replicas, now = form(net, binary, flags)

        def promoted():
            try:
                return now()
            except (StopIteration, redis.RedisError):
                return None
        start = time.monotonic()
        stays, follows = Load(lambda: master), Load(now)
        waiters = Waiters(lambda: master), Waiters(now)
        until("the bucket is drained", lambda: stays.bucket > BURST)
        shipped = replicated(master)
        began = time.monotonic()
        notes = []
        if cut == "hears and is heard late":
            master.delay(others, 2 * TIMEOUT / 1000)
            until("a replica is promoted", promoted)
        elif CUTS[cut] is None:
            flap(master, others, promoted)
        else:
            master.cut(others, CUTS[cut])
            until("a replica is promoted", promoted)
        heir = promoted()
        if heir:
            # Both admit until the old one has noticed, or for twice as long as that may take.
            end = time.monotonic() + 3 * TIMEOUT / 1000
            try:
                until("both have admitted", lambda: follows.bucket > 100 and time.monotonic() > end, 20)
            except TimeoutError:
                # With min-replicas-to-write the new master may have no replica for a while.
                notes.append("the new one does not admit within 20 s")
        stays.end()
        follows.end()
        ended = time.monotonic()
        seconds = ended - start
        lost = not_shipped(master.log(), heir.log()) if heir else collections.Counter()
        # A link that flaps may have made it a replica already, whose AOF is the new master's.
        is_counted = not heir or master.info("role") == "master"
        if not is_counted:
            notes.append("the old one follows already: what was not shipped is unknown")
        if heir and CUTS[cut]:
            master.heal(others, CUTS[cut])
        beyond = None
        try:
            used = stays.holds.settle_all(heir or master, follows.holds, shipped)
            beyond = charged(heir or master) - used
        except TimeoutError:
            notes.append("the holds could not be settled in time")
        if heir and CUTS[cut]:
            until("the old master follows the new one", lambda: is_linked(master))
            until("it has the same window", lambda: have_one_window(master, heir))
        for side in waiters:
            side.end()
        taken = stays.bucket + follows.bucket
        most = BURST + RATE * seconds + lost[b"b"]
        windows, leases = stays.window + follows.window, stays.leases + follows.leases
        # The old master refuses writes from its last admission on: its timer may grant nothing either.
        late = waiters[0].count("granted", stays.last + REPLY_MARGIN, ended) if heir else 0
        *answers, unanswered = (sum(side.count(answer) for side in waiters)
                                for answer in ("granted", "denied", "ended", "unanswered"))
        # Replies in flight when the callers stop reach nobody.
        within = taken <= most and windows <= WINDOW + lost[b"w"] and leases <= SLOTS + lost[b"l"]
        fits = (within or not is_counted) and not beyond and not late and not unanswered
        goes_on = max(0, stays.last - began) if heir else 0
        row(cut, "yes" if min_replicas else "no", "yes" if heir else "no", f"{goes_on:.1f} s",
            lost[b"b"], f"{taken - BURST - RATE * seconds:+.0f}", lost[b"w"], f"{windows - WINDOW:+d}",
            lost[b"l"], f"{leases - SLOTS:+d}", len(stays.holds.used) + len(follows.holds.used),
            "" if beyond is None else f"{beyond:+d}", *answers, unanswered, late,
            "; ".join(notes) if fits else "**WRONG**")
        return fits


def main():
    # A run that is ended must not leave its network to the next one, which would use the same addresses.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    cuts = [cut for cut in CUTS if cut in sys.argv[1:]] or list(CUTS)
    wanted = [name for name in sys.argv[1:] if name not in CUTS] or ["redis-8.2", "valkey-9.1"]
    lines = subprocess.run([ROOT / "scripts/servers.sh"], check=True, text=True,
                           stdout=subprocess.PIPE).stdout.splitlines()
    found = dict(line.split(" ", 1) for line in lines)
    well = True
    for name in wanted:
        for title, form in (("Sentinel", sentinel), ("Cluster", cluster)):
            print(f"\n{name}, {title}\n")
            row(*COLUMNS)
            row(*["--:"] * len(COLUMNS))
            for cut in cuts:
                for min_replicas in (False, True):
                    try:
                        well &= case(found[name], form, cut, min_replicas)
                    except (TimeoutError, redis.RedisError) as error:
                        # The machine is too busy, or a server hangs.
                        row(cut, "yes" if min_replicas else "no", f"**{error}**")
                        well = False
    sys.exit(0 if well else 1)


if __name__ == "__main__":
    main()
