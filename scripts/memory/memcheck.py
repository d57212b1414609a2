"""Drives every command of the module in a server under valgrind's memcheck.

Fails on any access that memcheck calls invalid, and on any block that is definitely lost, if the
module is anywhere on the stack. The server allocates with its own allocator and the module with
the system's; memcheck stands in for both.
"""

import collections
import pathlib
import shutil
import sys
import tempfile
import xml.etree.ElementTree as xml

ROOT = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "scripts/bench"))

import calls  # noqa: E402
from resp import ReplyError, encode, wait_until  # noqa: E402
from server import Server  # noqa: E402

LIBRARY = ROOT / "target/release/libredis_rl.so"
OPTIONS = """
enable-debug-command yes
enable-module-command yes
notify-keyspace-events KEA
"""
IN_BATCHES_OF = 200


class Driver:
    """Sends everything to the server, and counts it."""

    def __init__(self, server):
        self.server = server
        self.connection = server.connect()
        self.replies = collections.Counter()

    def say(self, *commands):
        """Sends it, and returns the replies, whatever they are."""
        commands = list(commands)
        answers = []
        for at in range(0, len(commands), IN_BATCHES_OF):
            batch = commands[at:at + IN_BATCHES_OF]
            answers += self.connection.exchange(b"".join(encode(*c) for c in batch), len(batch))
        self.replies["errors"] += sum(isinstance(a, ReplyError) for a in answers)
        self.replies["all"] += len(answers)
        return answers

    def must(self, *words):
        """Sends it; it must succeed."""
        return self.connection.call(*words)

    def everything(self):
        self.say(*calls.right(), *calls.wrong(), *calls.on_others(), *calls.several(),
                 *calls.leases(), *calls.mixed())

    def inside_others(self):
        """In a transaction, in a script, and with a subscriber."""
        listener = self.server.connect()
        listener.call("PSUBSCRIBE", "__key*")
        take = ["RL.TAKE", "inside", "1/h", "3"]
        self.say(["WATCH", "inside"], ["MULTI"], *[take] * 5, ["RL.TAKE", "inside", "x", "3"], ["EXEC"])
        script = "for i = 1, 9 do redis.pcall(unpack(ARGV)) end"
        windows = [["RL.WTAKE", "inside:day", 3, "DAY"], ["RL.WTAKE", "inside:any", 3, "SLIDING", "1h"]]
        self.say(*[["EVAL", script, 0, *call]
                   for call in [take, ["RL.GIVE", *take[1:]], ["RL.TOP"], *windows]])
        listener.close()

    def expiring(self):
        """Buckets that fill, expire and are created again."""
        for _ in range(20):
            self.say(*[["RL.TAKE", f"short:{n}", "1000", "2"] for n in range(100)])
            self.say(*[["RL.WTAKE", f"brief:{n}", "2", "1ms"] for n in range(50)])
            self.say(*[["RL.WTAKE", f"any:{n}", "2", "SLIDING", "16ms"] for n in range(50)])
        self.say(*[["RL.PEEK", f"short:{n}", "1000", "2"] for n in range(100)])

    def top(self):
        for seed, keys in enumerate(["128", "0", "1", "4096", "7", "128"]):
            self.must("CONFIG", "SET", "rl.top-keys", keys)
            self.say(*calls.denied(1500, seed))
        self.must("RL.TOP", "RESET")
        self.say(*calls.denied(500, 99), ["CONFIG", "SET", "rl.top-keys", "4097"])

    def without_memory(self):
        self.must("CONFIG", "SET", "maxmemory", "1")
        self.say(*[["RL.WTAKE", f"new:{n}", "1", *window] for n in range(10)
                   for window in [["DAY"], ["SLIDING", "1h"]]])
        self.say(*[["RL.TAKE", f"new:{n}", "1", "2"] for n in range(10)], *calls.several(20))
        self.say(*calls.mixed(20))
        self.must("CONFIG", "SET", "maxmemory", "0")

    def with_readers(self):
        """With the AOF on, effects are built."""
        self.must("CONFIG", "SET", "appendonly", "yes")
        done = lambda: self.server.info(self.connection)["aof_rewrite_in_progress"] == "0"  # noqa: E731
        wait_until(done, "the AOF is there")
        self.say(*calls.several(), *calls.leases(), *calls.mixed())
        self.say(*[["RL.TAKE", "read", "1/h", "9"], ["RL.GIVE", "read", "1/h", "9"]] * 5)
        self.say(*[["RL.WTAKE", "read:day", 9, "DAY"], ["RL.WGIVE", "read:day", 9, "DAY"],
                   ["RL.WTAKE", "read:any", 9, "SLIDING", "1h"]] * 5)
        self.must("DEBUG", "LOADAOF")
        self.must("CONFIG", "SET", "appendonly", "no")

    def asked_about(self):
        names = [*calls.ON_BUCKETS, *calls.ON_WINDOWS, *calls.ON_LEASES, "RL.MTAKE", "RL.ALL", "RL.TOP", "RL.INSPECT", "CL.THROTTLE"]
        self.say(["INFO", "rl"], ["INFO", "everything"], ["COMMAND", "INFO", *names])
        self.say(["COMMAND", "DOCS", *names], ["COMMAND"], ["CONFIG", "GET", "rl.*"])

    def loads(self):
        """Unloaded and loaded again, with right and wrong arguments."""
        for arguments in [[], ["CL.THROTTLE"], ["TOP-KEYS", "4096"], ["top-keys", "0", "cl.throttle"]]:
            self.must("MODULE", "UNLOAD", "rl")
            for wrong in [["FOO"], ["TOP-KEYS"], ["TOP-KEYS", "4097"]]:
                self.say(["MODULE", "LOAD", LIBRARY, *wrong])
            self.must("MODULE", "LOAD", LIBRARY, *arguments)
            self.say(*calls.several(3), *calls.denied(200, 1), ["RL.TAKE", "inside", "1/h", "3"])

    def drive(self):
        self.everything()
        self.inside_others()
        self.expiring()
        self.top()
        self.without_memory()
        self.with_readers()
        self.asked_about()
        self.must("DEBUG", "RELOAD")
        self.loads()
        self.everything()


def end(server):
    """Shuts it down, so that leaks are reported."""
    connection = server.connect()
    connection.socket.sendall(encode("SHUTDOWN", "NOSAVE"))
    server.process.wait(120)
    connection.close()


def troubles(report):
    """Returns the errors with the module on the stack: (kind, what, stack)."""
    for error in xml.parse(report).getroot().iter("error"):
        kind = error.findtext("kind")
        if kind in ("Leak_PossiblyLost", "Leak_StillReachable", "Leak_IndirectlyLost"):
            continue
        frames = list(error.iter("frame"))
        if any("redis_rl" in (frame.findtext("obj") or "") for frame in frames):
            stack = [frame.findtext("fn") or frame.findtext("ip") for frame in frames]
            yield kind, error.findtext("what") or error.findtext("xwhat/text"), stack


def main():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="rl-memcheck-"))
    report = folder / "report.xml"
    wrapper = ["valgrind", "--tool=memcheck", "--soname-synonyms=somalloc=*jemalloc*",
               "--leak-check=full", "--keep-debuginfo=yes", "--num-callers=40",
               "--child-silent-after-fork=yes", "--xml=yes", f"--xml-file={report}"]
    try:
        module = f"{LIBRARY} CL.THROTTLE"
        with Server(shutil.which("redis-server"), [module], OPTIONS, wrapper) as server:
            driver = Driver(server)
            driver.drive()
            end(server)
        found = list(troubles(report))
    finally:
        shutil.rmtree(folder)
    for kind, what, stack in found:
        print(f"memcheck: {kind}: {what}", *stack, sep="\n    ")
    said = driver.replies
    print(f"memcheck: {said['all']} calls, {said['errors']} of them refused: {len(found)} troubles")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
