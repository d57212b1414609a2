"""How much dearer a call is among millions of keys than among thousands."""

from cases import BASE, DEEP, DENIED, KEY, OURS, TAKE, key, named
from load import BUSY, medians, run
from server import STANDALONE, Group

SIZES = (10_000, 10_000_000)
ROUNDS, CALLS = 7, 300_000

# Filling from inside the server is the fast way to millions of keys.
FILL = """
local words = {unpack(ARGV, 4)}
for number = ARGV[1], ARGV[2] do
  words[tonumber(ARGV[3])] = string.format('user:%012d', number)
  redis.call(unpack(words))
end
"""


def fill(connection, words, keys, step=10_000):
    """Makes the call once for every key."""
    place = words.index(KEY) + 1
    for first in range(0, keys, step):
        connection.call("EVAL", FILL, 0, first, min(first + step, keys) - 1, place, *words)
    last = connection.call("EXISTS", key(keys - 1))
    assert last == 1, "the keys are there"


def measure(binary, libraries):
    """{(case, keys): CPU seconds a call}."""
    samples = {}
    with Group(binary, libraries[OURS], STANDALONE) as server:
        compared = named([BASE, TAKE, DENIED], DEEP)
        places = [(case, size) for case in compared for size in SIZES]
        connection = server.connect()
        for database, (case, size) in enumerate(places):
            connection.call("SELECT", database)
            (words,) = case.prepare
            # What SET stores must outlive the measurement.
            fill(connection, ["36000000" if word == 60000 else word for word in words], size)
        for _ in range(ROUNDS):
            for database, (case, size) in enumerate(places):
                sample = run(server, case, database, BUSY, CALLS, size)
                samples.setdefault((case.name, size), []).append(sample)
    return {at: medians(found)[1] for at, found in samples.items()}
