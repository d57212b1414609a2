"""Writes the table of test vectors as lines of URL-encoded words, because Java has no parser of JSON."""

import json
import sys
from pathlib import Path
from urllib.parse import quote


def write(*words):
    print(*("-" if word is None else "=" + quote(str(word)) for word in words))


def items(row, name):
    return "".join(f"{item}\n" for item in row.get(name, []))


vectors = json.loads(Path(sys.argv[1]).read_text())
for text, expected in vectors["addresses"]:
    write("address", 64, text, expected)
for prefix, text, expected in vectors["prefixes"]:
    write("address", prefix, text, expected)
for row in vectors["keys"]:
    options = items(row, "trusted"), row.get("ipv6_prefix", 64), row.get("prefix", "limit:")
    write("key", *options, row["peer"], items(row, "forwarded"), items(row, "header"), row["key"])
for row in vectors["fields"]:
    write("fields", ",".join(map(str, row["reply"])), row["policy"] + row["state"] + (row["retry"] or ""))
