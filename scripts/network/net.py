"""Servers in their own network namespaces, on one bridge, and cuts between them."""

import collections
import os
import pathlib
import re
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

import redis

PORT = 6379
SENTINEL = 26379


def run(*words):
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)


def until(what, condition, seconds=60):
    """Waits for a condition, never for time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.02)
    raise TimeoutError(f"timed out waiting until {what}")


class Net:
    """A bridge; its own address is the clients'. Leaving the context removes everything."""

    def __init__(self):
        self.tag = f"rl{os.getpid() % 100000}"
        self.nodes = []

    def __enter__(self):
        run("ip", "link", "add", self.tag, "type", "bridge")
        run("ip", "addr", "add", "10.213.0.254/24", "dev", self.tag)
        run("ip", "link", "set", self.tag, "up")
        return self

    def __exit__(self, *_):
        for node in self.nodes:
            node.end()
        run("ip", "link", "del", self.tag)

    def node(self, binary, *flags):
        """Starts a server in its own namespace."""
        node = Node(self, len(self.nodes) + 1, binary, flags)
        self.nodes.append(node)
        node.begin()
        return node


class Wire:
    """
    Carries frames between two links, those between a node and its peers a while later: what `netem`
    does on kernels that have it.
    """

    def __init__(self, links, peers, seconds):
        self.peers = {socket.inet_aton(peer) for peer in peers}
        self.seconds, self.stopped = seconds, False
        self.ends = []
        for link in links:
            end = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))  # ETH_P_ALL
            end.bind((link, 0))
            self.ends.append(end)
        self.thread = threading.Thread(target=self.carry)
        self.thread.start()

    def carry(self):
        late = collections.deque()
        while not self.stopped:
            wait = min(0.05, late[0][0] - time.monotonic()) if late else 0.05
            for end in select.select(self.ends, [], [], max(0, wait))[0]:
                frame, origin = end.recvfrom(1 << 16)
                if origin[2] == socket.PACKET_OUTGOING:
                    continue
                other = self.ends[1 - self.ends.index(end)]
                of_ip = frame[12:14] == b"\x08\x00"
                if of_ip and (frame[26:30] in self.peers or frame[30:34] in self.peers):
                    late.append((time.monotonic() + self.seconds, other, frame))
                else:
                    other.send(frame)
            while late and late[0][0] <= time.monotonic():
                _, other, frame = late.popleft()
                other.send(frame)

    def stop(self):
        self.stopped = True
        self.thread.join()
        for end in self.ends:
            end.close()


class Node:
    """A server in its own namespace."""

    def __init__(self, net, number, binary, flags):
        self.net, self.binary, self.flags = net, binary, flags
        self.space = f"{net.tag}-{number}"
        self.address = f"10.213.0.{number}"
        self.sentinel = "--sentinel" in flags
        self.port = SENTINEL if self.sentinel else PORT
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="rl-network-"))
        self.wire = None

    def begin(self):
        inside = ("ip", "netns", "exec", self.space)
        run("ip", "netns", "add", self.space)
        run("ip", "link", "add", f"{self.space}o", "type", "veth", "peer", "name", f"{self.space}i")
        run("ip", "link", "set", f"{self.space}o", "master", self.net.tag, "up")
        run("ip", "link", "set", f"{self.space}i", "netns", self.space)
        run(*inside, "ip", "addr", "add", f"{self.address}/24", "dev", f"{self.space}i")
        run(*inside, "ip", "link", "set", f"{self.space}i", "up")
        run(*inside, "ip", "link", "set", "lo", "up")
        words = [self.binary]
        if self.sentinel:
            (self.directory / "sentinel.conf").write_text("")
            words.append("sentinel.conf")
        words += ["--port", str(self.port), "--dir", str(self.directory),
                  "--protected-mode", "no", "--bind", "0.0.0.0", *self.flags]
        self.process = subprocess.Popen([*inside, *words], cwd=self.directory,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(f"{self.space} answers", self.answers)

    def end(self):
        # The process of `ip netns exec` became the server.
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        if self.wire:
            self.wire.stop()
            run("ip", "link", "del", f"{self.space}w")
        # Otherwise the namespace would keep the link for a while.
        run("ip", "link", "del", f"{self.space}o")
        run("ip", "netns", "del", self.space)
        shutil.rmtree(self.directory, ignore_errors=True)

    def client(self, socket_timeout=0.5, **settings):
        return redis.Redis(self.address, self.port, socket_timeout=socket_timeout, retry=None,
                           socket_connect_timeout=0.5, decode_responses=True, **settings)

    def ask(self, *words):
        with self.client() as client:
            return client.execute_command(*words)

    def answers(self):
        try:
            return self.ask("PING")
        except redis.RedisError:
            return False

    def info(self, field):
        found = re.search(rf"^{field}:(.*)$", self.ask_raw("INFO"), re.MULTILINE)
        return found and found.group(1).strip()

    def ask_raw(self, *words):
        with self.client() as client:
            client.response_callbacks.clear()
            return client.execute_command(*words)

    def cut(self, others, chains=("INPUT", "OUTPUT")):
        """Drops all packets between this server and those, in these directions."""
        self.rules("-A", others, chains)

    def heal(self, others, chains=("INPUT", "OUTPUT")):
        self.rules("-D", others, chains)

    def delay(self, others, seconds):
        """Delays every packet between this server and those."""
        outside, wire, inside = f"{self.space}o", f"{self.space}w", f"{self.space}i"
        # Frames are relayed unchanged, with their checksums.
        for link in (("ip", "netns", "exec", self.space, "ethtool", "-K", inside), ("ethtool", "-K", outside),
                     ("ethtool", "-K", self.net.tag)):
            run(*link, "tx", "off", "tso", "off", "gso", "off", "gro", "off")
        run("ip", "link", "set", outside, "nomaster")
        run("ip", "link", "add", wire, "type", "veth", "peer", "name", f"{self.space}x")
        for link in (wire, f"{self.space}x"):
            run("ethtool", "-K", link, "tx", "off", "tso", "off", "gso", "off", "gro", "off")
        for other in others:
            run("ip", "netns", "exec", other.space, "ethtool", "-K", f"{other.space}i",
                "tx", "off", "tso", "off", "gso", "off", "gro", "off")
        run("ip", "link", "set", f"{self.space}x", "master", self.net.tag, "up")
        run("ip", "link", "set", wire, "up")
        self.wire = Wire((outside, wire), [other.address for other in others], seconds)

    def rules(self, action, others, chains):
        for other in others:
            for chain in chains:
                side = "-s" if chain == "INPUT" else "-d"
                run("ip", "netns", "exec", self.space, "iptables", action, chain,
                    side, other.address, "-j", "DROP")

    def log(self):
        """Returns its whole AOF."""
        files = sorted(self.directory.rglob("*.aof"))
        return b"".join(file.read_bytes() for file in files)
