"""redis-py's connections, with a limit to their age."""

from __future__ import annotations

from typing import Any, Callable, ClassVar

import redis.client
import redis.connection
import redis.sentinel
from redis.exceptions import ConnectionError, ResponseError, TimeoutError

from ._duration import Duration
from ._lifetime import (
    Counters,
    Greeting,
    Lifetime,
    Policy,
    Stats,
    closed_by_server,
    last_of_handshake,
)

# What it mixes in with has few types, and not the same ones in each version of redis-py.
_Base: Any = object

# redis-py 5.0 has no client-side caching.
_CacheProxyConnection: Any = getattr(redis.connection, "CacheProxyConnection", ())


class AgeLimited(_Base):
    """What the connection classes here add to redis-py's.

    Pools call :meth:`connect` whenever they hand a connection out, so that is where a
    connection which is at or near its limit is closed and opened anew; or with the first
    command after that, if it got there in between. Nowhere else: what is in use is never cut.

    Keywords, beside those of redis-py's class (all of them may be words, as in URLs):

    ``maxage``
        The age, in milliseconds, past which the connection is not used again; or ``"5m"``, or
        a timedelta. 0: no limit but the server's, which is the default.
    ``maxage_jitter``
        Percent, 0 to 90, by default 10. Each connection's own limit is drawn at its birth from
        [maxage·(1 − jitter/100), maxage]: earlier than ``maxage``, never later.
    ``maxage_margin``
        So long before its limit, in milliseconds, a connection is taken for past it: by
        default 50. Three round trips if those are longer (half of the limit at most); never
        more than nine tenths of the limit.
    ``maxage_refresh``
        So long after it has asked the server for its limit, in milliseconds, a connection
        asks again when it is handed out: by default 60000. It costs a round trip.
    """

    connage_policy: ClassVar[Policy] = Policy()
    connage_counters: ClassVar[Counters] = Counters()

    def __init__(
        self,
        *args: Any,
        maxage: Duration | None = None,
        maxage_jitter: int | str | None = None,
        maxage_margin: Duration | None = None,
        maxage_refresh: Duration | None = None,
        maxage_counters: Counters | None = None,
        **kwargs: Any,
    ) -> None:
        policy = self.connage_policy.but(maxage, maxage_jitter, maxage_margin, maxage_refresh)
        self.connage_life = Lifetime(policy, maxage_counters or self.connage_counters)
        self._greeting: Greeting | None = None
        self._is_handed_out = False
        self._is_telling_caches = False
        connect_func = kwargs.get("redis_connect_func")
        if connect_func is not None:
            kwargs["redis_connect_func"] = _greeting_after(connect_func)
        super().__init__(*args, **kwargs)

    @classmethod
    def connage_stats(cls) -> Stats:
        """What happened to the connections of this class that no connage pool counts."""
        return cls.connage_counters.stats()

    # Between two uses.

    def connect(self) -> None:
        """Connects, if need be; if connected and at or near its limit, connects anew."""
        self._is_handed_out = False
        if self._sock is not None and not self._is_held():
            self._between_uses()
        self._open(super().connect)
        self._is_handed_out = True

    def connect_check_health(self, *args: Any, **kwargs: Any) -> None:
        """As :meth:`connect`, which in redis-py 6 and later comes here; so do commands."""
        self._open(lambda: super(AgeLimited, self).connect_check_health(*args, **kwargs))

    def _open(self, connect: Callable[[], Any]) -> None:
        """Connects, or leaves it closed. redis-py closes what fails with a RedisError only: after
        any other, from a credential provider say, the next user would have a connection that
        has not logged in."""
        try:
            connect()
        except BaseException:
            self.disconnect()
            raise

    def send_packed_command(self, *args: Any, **kwargs: Any) -> None:
        if self._is_handed_out:
            # The first command of a use: a busy thread may have waited long for its turn.
            self._is_handed_out = False
            if self.connage_life.is_due() and not self._is_held():
                self.connage_retire()
                self._open(super().connect)
        super().send_packed_command(*args, **kwargs)

    def _is_held(self) -> bool:
        """Whether a PubSub keeps it, which connects whenever it reads."""
        owners = [getattr(callback(), "__self__", None) for callback in self._connect_callbacks]
        return any(isinstance(owner, redis.client.PubSub) for owner in owners)

    def _between_uses(self) -> None:
        if self.connage_life.wants_news() and not self.connage_life.is_due():
            self._ask_again()
        if self.connage_life.is_due():
            self.connage_retire()

    def connage_retire(self) -> None:
        """Closes it, counted as retired. Only for a connection that is not in use."""
        self.connage_life.retired(self._host_error())
        self.disconnect()

    def _ask_again(self) -> None:
        """Asks for the limit that holds. What goes wrong closes the connection, and is nobody's
        failure: it is opened anew then."""
        try:
            if self.can_read():
                # A reply that nobody has read, which ours would come after; or, with a cache,
                # what it waits for.
                if not self._caches():
                    self.disconnect()
                return
            greeting = Greeting(self.connage_life.question(), None)
            super().send_command(*greeting.words, check_health=False)
            greeting.sent()
            self._read_answer(greeting)
        except Exception:
            self.disconnect()
        except BaseException:
            self.disconnect()
            raise

    def _caches(self) -> list[Any]:
        """Client-side caches that rely on it."""
        owners = [getattr(callback(), "__self__", None) for callback in self._connect_callbacks]
        return [owner for owner in owners if isinstance(owner, _CacheProxyConnection)]

    # On connecting.

    def on_connect(self) -> None:
        self._greet_during(super().on_connect)

    def on_connect_check_health(self, check_health: bool = True) -> None:
        """As :meth:`on_connect`, which in redis-py 6 and later comes here."""
        handshake = super().on_connect_check_health
        self._greet_during(lambda: handshake(check_health=check_health))

    def _greet_during(self, handshake: Callable[[], Any]) -> None:
        if self._greeting is not None:
            handshake()
            return
        words = self.connage_life.begin()
        self._greeting = greeting = Greeting(words, last_of_handshake(self))
        try:
            handshake()
        finally:
            self._greeting = None
        if not greeting.is_sent:
            # There was nothing to go with: a round trip of its own.
            super().send_command(*words, check_health=False)
            greeting.sent()
            self._read_answer(greeting)

    def send_command(self, *args: Any, **kwargs: Any) -> None:
        greeting = self._greeting
        if greeting is None:
            super().send_command(*args, **kwargs)
            return
        if not greeting.rides_on(args):
            super().send_command(*args, **kwargs)
            greeting.command_sent()
            return
        if kwargs.get("check_health", True):
            self.check_health()
        both = [*self.pack_command(*args), *self.pack_command(*greeting.words)]
        greeting.command_sent()
        greeting.sent()
        self.send_packed_command([b"".join(both)], check_health=False)

    def read_response(self, *args: Any, **kwargs: Any) -> Any:
        greeting = self._greeting
        if greeting is None:
            return super().read_response(*args, **kwargs)
        try:
            reply = super().read_response(*args, **kwargs)
        except ResponseError:
            if greeting.is_next():
                self._read_answer(greeting)
            raise
        if greeting.is_next():
            self._read_answer(greeting)
        return reply

    def _read_answer(self, greeting: Greeting) -> None:
        try:
            # Not decoded: the row has names in it that clients chose.
            reply = super().read_response(disable_decoding=True)
        except ResponseError as error:
            reply = error
        self.connage_life.answered(reply, greeting, self._host_error())

    def disconnect(self, *args: Any, **kwargs: Any) -> None:
        self.connage_life.ended(closed_by_server(), self._host_error())
        if self._sock is not None and not self._is_telling_caches:
            # What they have got from it, nobody would invalidate any more: they forget it, and
            # disconnect this again.
            self._is_telling_caches = True
            try:
                for cache in self._caches():
                    cache.disconnect()
            finally:
                self._is_telling_caches = False
        super().disconnect(*args, **kwargs)


def _greeting_after(connect_func: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """``redis_connect_func``, which need not call ``on_connect``, with the greeting after it."""

    def connect_and_greet(connection: AgeLimited) -> None:
        connect_func(connection)
        if not connection.connage_life.is_open:
            connection._greet_during(lambda: None)

    return connect_and_greet


class Connection(AgeLimited, redis.connection.Connection):
    """A TCP connection with a limit to its age: see :class:`AgeLimited` for the keywords."""


class SSLConnection(AgeLimited, redis.connection.SSLConnection):
    """A TLS connection with a limit to its age."""


class UnixDomainSocketConnection(AgeLimited, redis.connection.UnixDomainSocketConnection):
    """A unix socket connection with a limit to its age."""


class SentinelManagedConnection(AgeLimited, redis.sentinel.SentinelManagedConnection):
    """A connection of a :class:`~redis.sentinel.SentinelConnectionPool` with a limit to its age."""


class SentinelManagedSSLConnection(AgeLimited, redis.sentinel.SentinelManagedSSLConnection):
    """A TLS connection of a Sentinel pool with a limit to its age."""


_COUNTERPARTS: dict[type, type[AgeLimited]] = {
    base.__bases__[1]: base
    for base in (
        Connection,
        SSLConnection,
        UnixDomainSocketConnection,
        SentinelManagedConnection,
        SentinelManagedSSLConnection,
    )
}


def age_limited(connection_class: Any) -> Any:
    """The class with a limit to its age; itself if it has one already."""
    if issubclass(connection_class, AgeLimited):
        return connection_class
    counterpart = _COUNTERPARTS.get(connection_class)
    return counterpart or type(connection_class.__name__, (AgeLimited, connection_class), {})


def connection(
    maxage: Duration | None = None,
    *,
    jitter: int | str | None = None,
    margin: Duration | None = None,
    refresh: Duration | None = None,
    base: Any = Connection,
) -> Any:
    """A connection class that knows its limit, for pools that drop keywords they don't know::

        RedisCluster(..., connection_class=connage.connection(maxage="5m"))

    ``base`` is one of the classes here or of redis-py's; the rest are the keywords of
    :class:`AgeLimited`, durations in milliseconds or as words. The class has counters of its
    own: its ``connage_stats()`` tells of all connections that are made of it.
    """
    parent = age_limited(base)
    policy = parent.connage_policy.but(maxage, jitter, margin, refresh)
    attributes = {"connage_policy": policy, "connage_counters": Counters()}
    return type(parent.__name__, (parent,), attributes)
