"""A limiter on the user's own connection. Each call is sent once, in bounded time and number."""

from __future__ import annotations

import asyncio
import inspect
import os
import queue
import threading
import time
from collections import deque
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from typing import Any, Awaitable, Callable, Concatenate, ParamSpec, TypeVar

import redis
import redis.asyncio

from . import commands
from .commands import Call, Key, Limit
from .decision import Decision
from .failure import Ask, Counts, OnError, Outage, Policy
from .fallback import Fallback, Script
from .rate import Rate, rate as parse_rate
from .reserve import AsyncReservation, Reservation
from .slot import AsyncSlot, Slot

T = TypeVar("T")
P = ParamSpec("P")
C = TypeVar("C")

_TICKS = 5
"""Parts of a time-out. Each counts as its nominal length even if the process was busy with other
things meanwhile: what counts is the time in which it could have read the reply."""
_LONGEST = 20
"""Time-outs after which a call that is not answered is given up, and its connection closed."""
QUEUE = 10
"""Time-outs that a call waits for its turn at most, while the server goes on answering others."""


def _describe(method: Any, build: Callable[..., Any]) -> None:
    """Lets help() print the arguments of the command instead of those of its wrapper."""
    method.__doc__ = build.__doc__
    method.__name__ = build.__name__
    signature = inspect.signature(build)
    itself = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    method.__signature__ = signature.replace(
        parameters=[itself, *signature.parameters.values()], return_annotation=inspect.Signature.empty
    )


def _async_method(build: Callable[P, Call[C]]) -> Callable[Concatenate[AsyncLimiter, P], Awaitable[C]]:
    async def method(self: AsyncLimiter, /, *args: P.args, **kwargs: P.kwargs) -> C:
        return await self._run(build(*args, **kwargs))

    _describe(method, build)
    return method


def _method(build: Callable[P, Call[C]]) -> Callable[Concatenate[Limiter, P], C]:
    def method(self: Limiter, /, *args: P.args, **kwargs: P.kwargs) -> C:
        return self._run(build(*args, **kwargs))

    _describe(method, build)
    return method


class _Base:
    def __init__(
        self,
        *,
        timeout: float = 0.05,
        on_error: OnError = "local",
        share: float = 1.0,
        in_flight: int = 32,
        fallback: Script | None = None,
    ) -> None:
        if not timeout > 0:
            raise ValueError(f"timeout must be above 0 seconds, not {timeout}")
        if in_flight < 1:
            raise ValueError(f"in_flight must be at least 1, not {in_flight}")
        self.timeout, self.in_flight = timeout, in_flight
        self._policy = Policy(on_error, share)
        self._fallback = Fallback(fallback)
        self._stuck = 0

    @property
    def counts(self) -> Counts:
        """Returns the counters of replies, decisions without the server, and failures."""
        return self._policy.counts

    def _all_stuck(self) -> Outage:
        return Outage(f"{self.in_flight} calls wait for a reply for more than {self.timeout} s")


class AsyncLimiter(_Base):
    """Limits by `redis.asyncio.Redis` or `redis.asyncio.RedisCluster`.

    timeout    seconds for a call, within which the server must answer
    on_error   what an outage means for `take`: "local" takes from a bucket in this process, "open"
               allows, "closed" denies. Every other command raises Outage
    share      of the limit that the bucket in the process admits: with four processes, 0.25
    in_flight  calls that wait for the server at once; more wait for their turn
    fallback   "lua": where the server lacks the module, `take`, `peek` and `give` are scripts

    A mistake, such as an unknown command or a missing permission, is raised and logged. No call is sent
    twice, whatever the connection's own `retry` says.
    """

    def __init__(
        self,
        redis: redis.asyncio.Redis | redis.asyncio.RedisCluster,
        *,
        timeout: float = 0.05,
        on_error: OnError = "local",
        share: float = 1.0,
        in_flight: int = 32,
        fallback: Script | None = None,
    ) -> None:
        super().__init__(
            timeout=timeout, on_error=on_error, share=share, in_flight=in_flight, fallback=fallback
        )
        self.redis = redis
        self._running: set[asyncio.Task[Any]] = set()
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._promised = 0
        self._last_answer = 0.0

    async def take(
        self,
        key: Key,
        rate: str | int | float | Rate,
        burst: int,
        *,
        cost: int = 1,
        keep: int = 0,
        atmost: bool = False,
        maxwait: float | None = None,
        force: bool = False,
    ) -> Decision:
        """Takes `cost` tokens or none (RL.TAKE), by the policy where the server does not answer."""
        ask = Ask(key, parse_rate(rate), burst, cost, keep, atmost, force, maxwait is not None)
        call = commands.take(
            key, rate, burst, cost=cost, keep=keep, atmost=atmost, maxwait=maxwait, force=force
        )
        if (denied := self._policy.remembered(ask)) is not None:
            return denied
        try:
            return await self._run(call, ask)
        except Outage as outage:
            return self._policy.decide(ask, outage)

    peek = _async_method(commands.peek)
    give = _async_method(commands.give)
    mtake = _async_method(commands.mtake)
    wtake = _async_method(commands.wtake)
    wpeek = _async_method(commands.wpeek)
    wgive = _async_method(commands.wgive)
    acquire = _async_method(commands.acquire)
    renew = _async_method(commands.renew)
    release = _async_method(commands.release)
    leases = _async_method(commands.leases)
    all = _async_method(commands.all)
    settle = _async_method(commands.settle)
    holds = _async_method(commands.holds)

    async def check(self, key: Key = "limit:check") -> None:
        """Raises if the server lacks the module or the permission. An outage is only logged."""
        try:
            await self._run(commands.take(key, 1000, 1))
        except Outage:
            pass

    def slot(
        self, key: Key, limit: int, ttl: float, *, token: str | None = None, keep: int = 0, wait: float = 0
    ) -> AsyncSlot:
        """Holds one of `limit` slots while a body runs: ``async with limiter.slot("jobs", 5, 30):``

        Acquires it, or raises NoSlot; with `wait` the server lets it wait that many seconds, in line. Renews
        it at a third of the ttl, cancels the body and raises SlotLost if it is lost, and releases it.
        """
        return AsyncSlot(self, key, limit, ttl, token, keep, wait)

    def reserve(
        self, *limits: Limit, holds: Key, ttl: float, id: str | None = None, charge: bool = False
    ) -> AsyncReservation:
        """Charges an estimate while a body runs, and settles what was used:

            async with limiter.reserve(bucket(key, "10000/m", 20000, cost=1500), holds="{u}:holds", ttl=60) as r:
                r.used[key] = await work()

        Raises Denied if a limit denies. Repeats the call at a third of the ttl. A body that raises or is
        cancelled is settled with what it had put into `used`, otherwise with 0. `charge`: if this
        process dies the estimate stays charged, instead of being refunded after `ttl` seconds.
        """
        return AsyncReservation(self, limits, holds, ttl, id, charge)

    def _decide(self, ask: Ask, reason: str) -> Decision:
        """Decides by the policy about a take that is not sent."""
        try:
            with self._policy.failures():
                raise Outage(reason)
        except Outage as outage:
            return self._policy.decide(ask, outage)

    async def _run_waiting(self, call: Call[T], wait: float) -> T:
        """Sends a call that the server answers late, on a connection of its own."""
        with self._policy.failures():
            async with asyncio.timeout(wait + max(1.0, self.timeout)):
                return call.read(await _send_async(self.redis, call, wait + 1))

    async def _run(self, call: Call[T], ask: Ask | None = None, timeout: float | None = None) -> T:
        with self._policy.failures():
            return await self._bounded(call, ask, timeout or self.timeout)

    async def _bounded(self, call: Call[T], ask: Ask | None, timeout: float) -> T:
        if self._stuck >= self.in_flight:
            raise self._all_stuck()
        if len(self._running) + self._promised >= self.in_flight:
            denied = await self._turn(ask)
            if denied is not None:
                return denied  # type: ignore[return-value]
        task = asyncio.ensure_future(self._send(call, ask))
        self._running.add(task)
        late = False

        def ended(task: asyncio.Task[T]) -> None:
            self._running.discard(task)
            self._stuck -= late
            if not task.cancelled():
                task.exception()  # Was raised below, or comes too late for anybody.
            self._next()

        task.add_done_callback(ended)
        try:
            for _ in range(_TICKS):
                await asyncio.wait((task,), timeout=timeout / _TICKS)
                if task.done():
                    return task.result()
        finally:
            # Also if the caller is gone: the reply is still read, so the connection stays usable.
            if not task.done():
                late = True
                self._stuck += 1
        self.counts.late += 1
        raise Outage(f"no answer within {timeout} s")

    async def _turn(self, ask: Ask | None) -> Decision | None:
        """Waits for a turn, while the server answers others. Returns a denial learnt meanwhile."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        began, silent, granted = time.monotonic(), 0, False
        try:
            while True:
                seen = self._last_answer
                await asyncio.wait((turn,), timeout=self.timeout / _TICKS)
                if ask is not None and (denied := self._policy.remembered(ask)) is not None:
                    return denied
                if turn.done():
                    granted = True
                    return None
                if self._stuck >= self.in_flight:
                    raise self._all_stuck()
                silent = 0 if self._last_answer != seen else silent + 1
                if silent >= _TICKS or time.monotonic() - began > QUEUE * self.timeout:
                    raise Outage(f"no turn among {self.in_flight} calls within {self.timeout} s")
        finally:
            if not turn.done():
                self._waiting.remove(turn)
            else:
                self._promised -= 1
                if not granted:
                    self._next()

    def _next(self) -> None:
        """Gives a free place to the one that has waited longest."""
        if self._waiting and len(self._running) + self._promised < self.in_flight:
            self._promised += 1
            self._waiting.popleft().set_result(None)

    async def _send(self, call: Call[T], ask: Ask | None) -> T:
        sent = time.monotonic()
        async with asyncio.timeout(max(1.0, _LONGEST * self.timeout)):
            value = call.read(await self._reply(call))
        self._last_answer = time.monotonic()
        if ask is not None and isinstance(value, Decision):
            self._policy.answered(ask, sent, value)
        else:
            self.counts.answered += 1
        return value

    async def _reply(self, call: Call[Any]) -> Any:
        sent = self._fallback.first(call)
        while True:
            try:
                return await _send_async(self.redis, sent)
            except redis.ResponseError as error:
                again = self._fallback.after(call, sent, error)
                if again is None:
                    raise
                sent = again


async def _send_async(
    client: redis.asyncio.Redis | redis.asyncio.RedisCluster, call: Call[Any], timeout: float | None = None
) -> Any:
    if isinstance(client, redis.asyncio.RedisCluster):
        await client.initialize()
        # For a node that is named the client does not send again.
        node = client.get_node_from_key(_text(call.key))
        return await client.execute_command(*call.words, target_nodes=node)
    pool: Any = client.connection_pool  # Its methods have no types.
    connection = await pool.get_connection()
    try:
        await connection.send_command(*call.words)
        return await connection.read_response(timeout=timeout)
    except redis.ResponseError:
        raise
    except BaseException:
        await connection.disconnect(nowait=True)
        raise
    finally:
        await pool.release(connection)


class Limiter(_Base):
    """As AsyncLimiter, for threads: by `redis.Redis` or `redis.RedisCluster`.

    Calls run on at most `in_flight` threads of the limiter's own, since a blocking client cannot be told
    how long to wait for one call. Give the connection a `socket_timeout`.
    """

    def __init__(
        self,
        redis: redis.Redis | redis.RedisCluster,
        *,
        timeout: float = 0.05,
        on_error: OnError = "local",
        share: float = 1.0,
        in_flight: int = 32,
        fallback: Script | None = None,
    ) -> None:
        super().__init__(
            timeout=timeout, on_error=on_error, share=share, in_flight=in_flight, fallback=fallback
        )
        self.redis = redis
        self._threads = _Threads(in_flight)
        self._lock = threading.Lock()
        self._last_answer = 0.0

    def take(
        self,
        key: Key,
        rate: str | int | float | Rate,
        burst: int,
        *,
        cost: int = 1,
        keep: int = 0,
        atmost: bool = False,
        maxwait: float | None = None,
        force: bool = False,
    ) -> Decision:
        """Takes `cost` tokens or none (RL.TAKE), by the policy where the server does not answer."""
        ask = Ask(key, parse_rate(rate), burst, cost, keep, atmost, force, maxwait is not None)
        call = commands.take(
            key, rate, burst, cost=cost, keep=keep, atmost=atmost, maxwait=maxwait, force=force
        )
        if (denied := self._policy.remembered(ask)) is not None:
            return denied
        try:
            return self._run(call, ask)
        except Outage as outage:
            return self._policy.decide(ask, outage)

    peek = _method(commands.peek)
    give = _method(commands.give)
    mtake = _method(commands.mtake)
    wtake = _method(commands.wtake)
    wpeek = _method(commands.wpeek)
    wgive = _method(commands.wgive)
    acquire = _method(commands.acquire)
    renew = _method(commands.renew)
    release = _method(commands.release)
    leases = _method(commands.leases)
    all = _method(commands.all)
    settle = _method(commands.settle)
    holds = _method(commands.holds)

    def check(self, key: Key = "limit:check") -> None:
        """Raises if the server lacks the module or the permission. An outage is only logged."""
        try:
            self._run(commands.take(key, 1000, 1))
        except Outage:
            pass

    def slot(
        self, key: Key, limit: int, ttl: float, *, token: str | None = None, keep: int = 0, wait: float = 0
    ) -> Slot:
        """Holds one of `limit` slots while a body runs: ``with limiter.slot("jobs", 5, 30) as slot:``

        Acquires it, or raises NoSlot; with `wait` the server lets it wait that many seconds, in line. Renews
        it at a third of the ttl, sets `slot.lost` if it is lost, and releases it.
        """
        return Slot(self, key, limit, ttl, token, keep, wait)

    def reserve(
        self, *limits: Limit, holds: Key, ttl: float, id: str | None = None, charge: bool = False
    ) -> Reservation:
        """Charges an estimate while a body runs, and settles what was used:

            with limiter.reserve(bucket(key, "10000/m", 20000, cost=1500), holds="{u}:holds", ttl=60) as r:
                r.used[key] = work()

        As `AsyncLimiter.reserve`, but the body is not cancelled if somebody else settles the hold: `r.ended` is
        set, and HoldEnded raised at its end.
        """
        return Reservation(self, limits, holds, ttl, id, charge)

    def _run_waiting(self, call: Call[T], wait: float) -> T:
        """Sends a call that the server answers late, on a connection of its own."""
        with self._policy.failures():
            return call.read(_send(self.redis, call, wait + max(1.0, self.timeout)))

    def _run(self, call: Call[T], ask: Ask | None = None, timeout: float | None = None) -> T:
        with self._policy.failures():
            return self._bounded(call, ask, timeout or self.timeout)

    def _bounded(self, call: Call[T], ask: Ask | None, timeout: float) -> T:
        if self._stuck >= self.in_flight:
            raise self._all_stuck()
        began, silent, started = time.monotonic(), 0, threading.Event()
        late = [False]

        def work() -> T:
            started.set()
            try:
                # Whoever asked may have gone, or been denied meanwhile.
                if late[0]:
                    raise Outage("no turn")
                if ask is not None and (denied := self._policy.remembered(ask)) is not None:
                    return denied  # type: ignore[return-value]
                return self._send(call, ask)
            finally:
                with self._lock:
                    self._stuck -= late[0] and sent[0]

        sent = [False]
        future = self._threads.submit(work)
        ticks = 0
        while ticks < _TICKS:
            seen = self._last_answer
            try:
                return future.result(timeout / _TICKS)
            except NotYet:
                if future.done():
                    return future.result()
            if started.is_set():
                ticks += 1
                continue
            silent = 0 if self._last_answer != seen else silent + 1
            if silent >= _TICKS or time.monotonic() - began > QUEUE * timeout:
                break
        with self._lock:
            if future.done():
                return future.result()
            late[0], sent[0] = True, started.is_set()
            self._stuck += sent[0]
            self.counts.late += sent[0]
        raise Outage(f"no answer within {timeout} s")

    def _send(self, call: Call[T], ask: Ask | None) -> T:
        sent = time.monotonic()
        value = call.read(self._reply(call))
        self._last_answer = time.monotonic()
        if ask is not None and isinstance(value, Decision):
            self._policy.answered(ask, sent, value)
        else:
            self.counts.answered += 1
        return value

    def _reply(self, call: Call[Any]) -> Any:
        sent = self._fallback.first(call)
        while True:
            try:
                return _send(self.redis, sent)
            except redis.ResponseError as error:
                again = self._fallback.after(call, sent, error)
                if again is None:
                    raise
                sent = again


def _send(client: redis.Redis | redis.RedisCluster, call: Call[Any], timeout: float | None = None) -> Any:
    if isinstance(client, redis.RedisCluster):
        # For a node that is named the client does not send again.
        cluster: Any = client
        return cluster.execute_command(*call.words, target_nodes=cluster.get_node_from_key(call.key))
    pool: Any = client.connection_pool  # Its methods have no types.
    connection = pool.get_connection()
    try:
        connection.send_command(*call.words)
        if timeout is None:
            return connection.read_response()
        return connection.read_response(timeout=timeout)
    except redis.ResponseError:
        raise
    except BaseException:
        connection.disconnect()
        raise
    finally:
        pool.release(connection)


def _text(key: Key) -> str:
    return key if isinstance(key, str) else key.decode("utf-8", "surrogateescape")


class _Threads:
    """At most `most` daemon threads, which are started when they are needed, also after a fork."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._start_anew()

    def _start_anew(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._queue: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = queue.SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._count = 0

    def submit(self, work: Callable[[], T]) -> Future[T]:
        if self._pid != os.getpid():
            self._start_anew()
        future: Future[T] = Future()
        self._queue.put((future, work))
        if not self._idle.acquire(blocking=False):
            with self._lock:
                if self._count < self._most:
                    self._count += 1
                    threading.Thread(target=self._serve, name="redis_rl", daemon=True).start()
        return future

    def _serve(self) -> None:
        while True:
            try:
                future, work = self._queue.get_nowait()
            except queue.Empty:
                self._idle.release()
                future, work = self._queue.get()
            try:
                future.set_result(work())
            except BaseException as error:
                future.set_exception(error)
