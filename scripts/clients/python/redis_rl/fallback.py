"""Buckets by a script, for servers that load no modules. They have keys of their own."""

from __future__ import annotations

import hashlib
import re
from importlib import resources
from typing import Any, Iterator, Literal

from .commands import Call, Key
from .failure import log
from .rate import rate as parse_rate

Script = Literal["lua"]

_TEXT = resources.files(__package__).joinpath("bucket.lua").read_text()
_SHA = hashlib.sha1(_TEXT.encode()).hexdigest()
_CALLS = ("RL.TAKE", "RL.PEEK", "RL.GIVE")
_MISSING = re.compile("unknown command|not available|not supported|unsupported command", re.IGNORECASE)


class Fallback:
    """Chooses between a command and its script. Once the server has refused a command that it does not know, the
    script is sent until the process ends: a bucket in each place would admit twice."""

    def __init__(self, kind: Script | None) -> None:
        if kind not in (None, "lua"):
            raise ValueError(f"fallback must be None or 'lua', not {kind!r}")
        self._kind = kind
        self.is_used = False

    def first(self, call: Call[Any]) -> Call[Any]:
        """Returns the call to send."""
        return _script(call, "EVALSHA", _SHA) if self.is_used and call.words[0] in _CALLS else call

    def after(self, call: Call[Any], sent: Call[Any], error: Exception) -> Call[Any] | None:
        """Returns the call to send after the server refused `sent`, or None if `error` is final. A call that was
        refused has charged nothing."""
        if self._kind is None or call.words[0] not in _CALLS:
            return None
        if sent.words[0] == "EVALSHA":
            is_unknown = type(error).__name__ == "NoScriptError" or str(error).startswith("NOSCRIPT")
            return _script(call, "EVAL", _TEXT) if is_unknown else None
        if sent is not call or not _MISSING.search(str(error)):
            return None
        if not self.is_used:
            log.warning("rate limiter: the module is missing, so buckets are scripts: %s", error)
        self.is_used = True
        return self.first(call)


def _script(call: Call[Any], command: str, script: str) -> Call[Any]:
    """Returns a call of RL.TAKE, RL.PEEK or RL.GIVE as a call of the script."""
    name, key, rate, burst, *options = call.words
    given: dict[Any, Any] = {"COST": 1, "KEEP": 0, "MAXWAIT": 0}
    mode = ""
    words: Iterator[Any] = iter(options)
    for word in words:
        if word in given:
            given[word] = next(words)
        if word not in ("COST", "KEEP"):
            mode = word
    assert isinstance(key, (str, bytes)) and isinstance(rate, str)
    of, own = parse_rate(rate), _own(key)
    limit = (repr(of.tokens), repr(of.period_ms), burst, given["COST"], given["KEEP"])
    return Call((command, script, 1, own, str(name)[3:], *limit, mode, given["MAXWAIT"]), own, call.read)


def _own(key: Key) -> Key:
    return key + b":lua" if isinstance(key, bytes) else key + ":lua"
