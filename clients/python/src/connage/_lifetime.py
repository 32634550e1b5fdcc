"""How long a connection may live: what its owner wishes, what the server says, what follows.

Nothing here reads or writes a socket; both kinds of connection, sync and asyncio, share it.
"""

from __future__ import annotations

import builtins
import logging
import os
import random
import sys
import threading
import time
import weakref
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from math import inf
from typing import Any, Callable, NamedTuple

from redis.exceptions import ConnectionError, ResponseError

from ._duration import LONGEST_MS, Duration, milliseconds, percent, read, yes_or_no

logger = logging.getLogger("connage")

# Not the application's own generator, which it may have seeded, and which forked workers share.
_random = random.SystemRandom()

ROUND_TRIPS_OF_MARGIN = 3
"""So many round trips before its limit a connection counts as at its limit."""

SHORTEST_PAUSE_S = 1.0
"""After a retirement that failed, the least time until the next is tried with that server."""
TRIES_SHARE = 10
"""No more than one part in so many of the time goes into retirements that fail."""


class Retired(NamedTuple):
    """What ``on_retired`` is told of a connection that was retired."""

    server: str
    """As redis-py names it: ``host:port``, or a path."""
    age_ms: int
    limit_ms: int
    """The limit that held, in milliseconds; 0: none."""
    reason: str
    """``"maxage"``, ``"maxidle"`` or ``"retire_all"``."""


@dataclass(frozen=True)
class Policy:
    """What a pool's owner wishes for its connections.

    All durations are in milliseconds; see :meth:`of` for what they mean.
    """

    maxage_ms: int = 0
    jitter_percent: int = 10
    margin_ms: int = 50
    refresh_ms: int = 60_000
    tell_server: bool = True
    maxidle_ms: int = 0
    on_retired: Callable[[Retired], object] | None = None

    def but(
        self,
        maxage: Duration | None = None,
        maxage_jitter: int | str | None = None,
        maxage_margin: Duration | None = None,
        maxage_refresh: Duration | None = None,
        maxage_tell_server: bool | str | None = None,
        maxidle: Duration | None = None,
        on_retired: Callable[[Retired], object] | None = None,
    ) -> Policy:
        """This policy with what is given; ``None`` leaves a setting as it is.

        Raises :class:`ValueError` for a value that is none; it names the setting.
        """
        given = {
            "maxage_ms": read(milliseconds, maxage, "maxage"),
            "jitter_percent": read(percent, maxage_jitter, "maxage_jitter"),
            "margin_ms": read(milliseconds, maxage_margin, "maxage_margin"),
            "refresh_ms": read(milliseconds, maxage_refresh, "maxage_refresh"),
            "tell_server": read(yes_or_no, maxage_tell_server, "maxage_tell_server"),
            "maxidle_ms": read(milliseconds, maxidle, "maxidle"),
            "on_retired": on_retired,
        }
        if on_retired is not None and not callable(on_retired):
            raise ValueError(f"on_retired: {on_retired!r} can't be called")
        return replace(self, **{name: value for name, value in given.items() if value is not None})

    def draw_ms(self) -> int:
        """A limit for one connection, in [maxage·(1 − jitter/100), maxage] ms; 0: no limit."""
        if self.maxage_ms == 0:
            return 0
        window = self.maxage_ms * self.jitter_percent // 100
        return max(1, self.maxage_ms - _random.randint(0, window))


class Stats(NamedTuple):
    """What happened to a pool's connections since the pool was made (in this process)."""

    retired: int
    """Connections closed by their pool between two uses, at or near their limit."""
    evicted: int
    """Connections that the server closed when they were past their limit."""
    oldest_age_ms: int
    """Age of the oldest open connection, in milliseconds; 0 if none is open."""
    open_connections: int
    """Connections that are open now, in use or not."""


class Counters:
    """Counts for one pool. Thread-safe, and empty again in a forked child."""

    def __init__(self) -> None:
        self.generation = 0
        self._reset()

    def _reset(self) -> None:
        # Reentrant: a garbage collection may end a connection in any place here.
        self._lock = threading.RLock()
        self._retired = 0
        self._evicted = 0
        self._paused: dict[str, float] = {}
        self._open: set[weakref.ref[Lifetime]] = set()
        self._pid = os.getpid()

    def _own(self) -> AbstractContextManager[Any]:
        if self._pid != os.getpid():
            # Forked: the connections are the parent's, and its lock may be held for ever.
            self._reset()
        return self._lock

    def count_retired(self) -> None:
        with self._own():
            self._retired += 1

    def count_evicted(self) -> None:
        with self._own():
            self._evicted += 1

    def retire_all(self) -> None:
        """All lives that have begun are at their end."""
        with self._own():
            self.generation += 1

    def pause(self, server: str, now: float, until: float) -> None:
        """A new connection to that server can't be made: none is retired until then."""
        with self._own():
            self._paused = {name: end for name, end in self._paused.items() if end > now}
            self._paused[server] = until

    def is_paused(self, server: str, now: float) -> bool:
        return now < self._paused.get(server, 0.0)

    def opened(self, life: Lifetime) -> None:
        with self._own():
            self._open.add(weakref.ref(life, self._open.discard))

    def closed(self, life: Lifetime) -> None:
        with self._own():
            self._open.discard(weakref.ref(life))

    def stats(self) -> Stats:
        now = time.monotonic()
        with self._own():
            lives = [life() for life in self._open.copy()]
            births = [life.born for life in lives if life and life.born is not None]
            oldest = int((now - min(births)) * 1000) if births else 0
            return Stats(self._retired, self._evicted, oldest, len(births))

    def __deepcopy__(self, memo: object) -> Counters:
        return self

    def __reduce__(self) -> tuple[type[Counters], tuple[()]]:
        # In another process it counts from the start, as after a fork.
        return Counters, ()


class Lifetime:
    """One connection object's successive lives: each reconnect begins another."""

    def __init__(self, policy: Policy, counters: Counters) -> None:
        self.policy = policy
        self.counters = counters
        self.server = ""
        """As redis-py names it."""
        self.born: float | None = None
        """When the connection was born, on :func:`time.monotonic`: rather too early than too
        late; ``None`` while it is not connected."""
        self.limit_ms = 0
        """The limit that holds, in milliseconds of age; 0: none."""
        self.told_by_server = False
        """Whether the server had a say in :attr:`limit_ms`."""
        self._due_at = inf
        self._ask_at = inf
        self._own_limit_ms = 0
        self._lost_at_age_ms: float | None = None
        self._refusal = ""
        self._generation = 0
        self._used_at = 0.0
        self._asks_first = False

    @property
    def is_open(self) -> bool:
        return self.born is not None

    def begin(self, server: str) -> tuple[str | int, ...]:
        """A new life: draws its own limit. Returns the command that tells the server; empty if
        the server is not told."""
        self.server = server
        self.born = self._used_at = time.monotonic()
        self.told_by_server = self._asks_first = False
        self._ask_at = inf
        self._generation = self.counters.generation
        self._own_limit_ms = self.policy.draw_ms()
        self._hold(self._own_limit_ms, 0.0)
        self.counters.opened(self)
        return self.question()

    def question(self) -> tuple[str | int, ...]:
        """The command that tells the server its own limit and asks for the one that holds."""
        if not self.policy.tell_server:
            return ()
        if self._own_limit_ms:
            return ("CONNAGE.SELF", "MAXAGE", self._own_limit_ms)
        return ("CONNAGE.SELF",)

    def _hold(self, limit_ms: int, round_trip: float) -> None:
        self.limit_ms = limit_ms
        if limit_ms == 0 or self.born is None:
            self._due_at = inf
            return
        limit = limit_ms / 1000
        # Some of a life remains always, or a slow answer would make every use a new one.
        slow = min(ROUND_TRIPS_OF_MARGIN * round_trip, limit / 2)
        margin = min(max(self.policy.margin_ms / 1000, slow), limit * 0.9)
        self._due_at = self.born + limit - margin

    def answered(self, reply: Any, greeting: Greeting) -> None:
        """The server's answer to CONNAGE.SELF, of RESP2 or RESP3, which may be an error.

        Raises ConnectionError where it is rather that to some other command, whose reply nobody
        had read; on connecting there was none.
        """
        if isinstance(reply, ResponseError):
            reason = str(reply)
            if not (greeting.is_on_connecting or reason == self._refusal or _is_refusal(reason)):
                raise ConnectionError(f"in place of CONNAGE.SELF's answer: {reason:.100}")
            self._refused(reason)
            return
        try:
            row = _row(reply)
            age_ms, limit_ms = int(row["age-ms"]), int(row["limit-ms"])
            if not (0 <= age_ms <= LONGEST_MS and 0 <= limit_ms <= LONGEST_MS):
                raise ValueError(row)
        except (KeyError, TypeError, ValueError):
            if not greeting.is_on_connecting:
                raise ConnectionError("not CONNAGE.SELF's answer") from None
            self._refused(f"its answer to CONNAGE.SELF is not understood: {reply!r:.100}")
            return
        self._told(age_ms, limit_ms, greeting.asked_at)

    def _told(self, age_ms: int, limit_ms: int, asked_at: float) -> None:
        now = time.monotonic()
        lost, self._lost_at_age_ms = self._lost_at_age_ms, None
        if lost is not None and 0 < limit_ms <= lost:
            self._evicted()
        if not self.is_open:
            return  # Another thread has closed it meanwhile.
        # The server took its age at some moment after we asked, and in whole milliseconds: it
        # was born no earlier than this, and no estimate made so is too late.
        born = asked_at - (age_ms + 1) / 1000
        self.born = max(self.born or born, born) if self.told_by_server else born
        self.told_by_server = True
        self._ask_at = now + self.policy.refresh_ms / 1000
        limits = [ms for ms in (self._own_limit_ms, limit_ms) if ms > 0]
        self._hold(min(limits, default=0), now - asked_at)

    def _refused(self, reason: str) -> None:
        """The server has no such command (any more), or not for this user: its own limit alone
        counts, until it is time to ask again."""
        self._lost_at_age_ms = None
        self._refusal = reason
        _say_once(self.server, reason, self.policy.maxage_ms)
        if self.is_open:
            self.told_by_server = False
            self._ask_at = time.monotonic() + self.policy.refresh_ms / 1000
            self._hold(self._own_limit_ms, 0.0)

    def is_due(self) -> bool:
        """At or near its limit: its owner is to open it anew before it is used again."""
        return self.why_due() is not None

    def why_due(self) -> str | None:
        if not self.is_open:
            return None
        now = time.monotonic()
        if self.counters.is_paused(self.server, now):
            return None
        if self._generation != self.counters.generation:
            return "retire_all"
        if now >= self._due_at:
            return "maxage"
        maxidle_ms = self.policy.maxidle_ms
        return "maxidle" if maxidle_ms and now - self._used_at >= maxidle_ms / 1000 else None

    def used(self) -> None:
        """It is used just now: not idle."""
        self._used_at = time.monotonic()

    def logged_in(self) -> None:
        """It has logged in (again): as another user perhaps, or its life begins anew."""
        self._asks_first = self.policy.tell_server

    def asks_before_use(self) -> bool:
        """Whether it is time to ask whether the server's limit has changed."""
        asks_first, self._asks_first = self._asks_first, False
        if not self.is_open or self._generation != self.counters.generation:
            return False
        return asks_first or time.monotonic() >= self._ask_at and not self.is_due()

    def age_ms(self) -> float:
        """0 while it is not connected."""
        return 0 if self.born is None else (time.monotonic() - self.born) * 1000

    def as_retired(self) -> Retired:
        """What is to be told of it, once it is retired."""
        reason = self.why_due() or "maxage"
        return Retired(self.server, int(self.age_ms()), self.limit_ms, reason)

    def retired(self) -> Retired:
        """Ends it as retired; :meth:`tell` is to follow where its owner holds no lock."""
        told = self.as_retired()
        self.count_retired(told)
        self._end()
        return told

    def count_retired(self, told: Retired) -> None:
        logger.debug(
            "retired a connection to %s at the age of %d ms, its limit being %d ms (%s)", *told
        )
        self.counters.count_retired()

    def tell(self, told: Retired) -> None:
        if self.policy.on_retired is not None:
            try:
                self.policy.on_retired(told)
            except Exception:
                logger.exception("on_retired failed")

    def set_aside(self) -> dict[str, Any]:
        """What :meth:`put_back` needs, should the next life come to nothing."""
        return dict(vars(self))

    def put_back(self, life: dict[str, Any]) -> None:
        vars(self).update(life)
        self.counters.opened(self)

    def kept(self, why: Exception, tried_at: float) -> None:
        """It was to be retired, but a new connection can't be made: that is tried again soon, and
        the later the longer it took; by one connection at a time, and not by idle ones."""
        now = time.monotonic()
        pause = max(SHORTEST_PAUSE_S, TRIES_SHARE * (now - tried_at))
        self.counters.pause(self.server, now, now + pause)
        logger.info(
            "kept a connection to %s at the age of %d ms, its limit being %d ms, and tries again "
            "in %.0f s: no new one can be made: %s",
            self.server,
            self.age_ms(),
            self.limit_ms,
            pause,
            why,
        )

    def _evicted(self) -> None:
        logger.debug("%s evicted a connection that was past its limit", self.server)
        self.counters.count_evicted()

    def ended(self, by_server: bool) -> None:
        """Disconnected. ``by_server``: it was the server that closed the connection."""
        if not self.is_open:
            return
        if by_server and self.told_by_server:
            age_ms = self.age_ms()
            if 0 < self.limit_ms <= age_ms:
                self._evicted()
            else:
                # By a limit that was lowered since, perhaps: the next answer tells.
                self._lost_at_age_ms = age_ms
        self._end()

    def _end(self) -> None:
        self.born = None
        self._due_at = self._ask_at = inf
        self.counters.closed(self)


class Greeting:
    """CONNAGE.SELF on its way with the handshake: sent with the last of its commands, so that it
    costs no round trip of its own, and read right after that command's reply."""

    def __init__(self, words: tuple[str | int, ...], companion: tuple[str, ...] | None) -> None:
        """``companion``: how the command begins that it goes with; empty if there is none on
        connecting, ``None`` if it asks again, later."""
        self.words = words
        self.is_on_connecting = companion is not None
        self.is_sent = False
        self.asked_at = 0.0
        self._companion = companion or ()
        self._sent = 0
        self._read = 0
        self._place = 0

    def rides_on(self, command: tuple[Any, ...]) -> bool:
        """Whether it goes with this command of the handshake."""
        words = self._companion
        return bool(words) and not self.is_sent and tuple(command[: len(words)]) == words

    def command_sent(self) -> None:
        self._sent += 1

    def sent(self) -> None:
        self.is_sent = True
        self.asked_at = time.monotonic()
        self._place = self._sent

    def is_next(self) -> bool:
        """Another reply of the handshake was read: whether the next one is ours."""
        self._read += 1
        return self.is_sent and self._read == self._place


def last_of_handshake(connection: Any) -> tuple[str, ...]:
    """How the last command begins that redis-py sends on connecting; empty if that isn't known.

    Rules can go by a connection's name and library, so the answer is best asked after those.
    """
    if connection.db:
        return ("SELECT",)
    info = getattr(connection, "driver_info", None)
    if getattr(info, "lib_version", None) or getattr(connection, "lib_version", None):
        return ("CLIENT", "SETINFO", "LIB-VER")
    if getattr(info, "formatted_name", None) or getattr(connection, "lib_name", None):
        return ("CLIENT", "SETINFO", "LIB-NAME")
    if connection.client_name:
        return ("CLIENT", "SETNAME")
    return ()


_REFUSALS = ("unknown command", "no permissions", "NOPERM")


def _is_refusal(reason: str) -> bool:
    """Of a server without the module, or without permission."""
    return any(words in reason for words in _REFUSALS)


def closed_by_server() -> bool:
    """Whether what is being handled just now is the end of the server's side."""
    error = sys.exc_info()[1]
    return isinstance(error, builtins.ConnectionError) or "closed by server" in str(error)


def _row(reply: Any) -> dict[str, Any]:
    if isinstance(reply, dict):
        pairs = list(reply.items())
    elif isinstance(reply, list):
        pairs = list(zip(reply[::2], reply[1::2]))
    else:
        raise TypeError(reply)
    return {key.decode() if isinstance(key, bytes) else key: value for key, value in pairs}


_said: set[tuple[str, str]] = set()


def _say_once(server: str, reason: str, maxage_ms: int) -> None:
    key = (server, reason[:40])
    if key in _said:
        return
    _said.add(key)
    logger.debug(
        "no limit is known from %s (%s): its connections go by their own maxage of %d ms",
        server,
        reason,
        maxage_ms,
    )
