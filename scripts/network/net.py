"""Servers in network namespaces of their own, on one bridge, and cuts between them."""

import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
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
    raise TimeoutError(f"waited in vain until {what}")


class Net:
    """A bridge; its own address is the clients'. It and all on it go when this is left."""

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
        """Starts a server in a namespace of its own."""
        node = Node(self, len(self.nodes) + 1, binary, flags)
        self.nodes.append(node)
        node.begin()
        return node


class Node:
    """A server, and the namespace that it is alone in."""

    def __init__(self, net, number, binary, flags):
        self.net, self.binary, self.flags = net, binary, flags
        self.space = f"{net.tag}-{number}"
        self.address = f"10.213.0.{number}"
        self.sentinel = "--sentinel" in flags
        self.port = SENTINEL if self.sentinel else PORT
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="rl-network-"))

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
        # What `ip netns exec` started took its place.
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        # Without it the namespace would keep the link for a while.
        run("ip", "link", "del", f"{self.space}o")
        run("ip", "netns", "del", self.space)
        shutil.rmtree(self.directory, ignore_errors=True)

    def client(self, **settings):
        return redis.Redis(self.address, self.port, socket_timeout=0.5, retry=None,
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
        """From now on no packet passes between this one and those, in these directions."""
        self.rules("-A", others, chains)

    def heal(self, others, chains=("INPUT", "OUTPUT")):
        self.rules("-D", others, chains)

    def rules(self, action, others, chains):
        for other in others:
            for chain in chains:
                side = "-s" if chain == "INPUT" else "-d"
                run("ip", "netns", "exec", self.space, "iptables", action, chain,
                    side, other.address, "-j", "DROP")

    def log(self):
        """All that its AOF says."""
        files = sorted(self.directory.glob("appendonlydir/*.aof"))
        return b"".join(file.read_bytes() for file in files)
