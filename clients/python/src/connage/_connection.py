"""redis-py's connections, with a limit to their age."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING, Any, Callable

import redis.client
import redis.connection
import redis.sentinel
from redis.backoff import NoBackoff
from redis.exceptions import ResponseError
from redis.retry import Retry

from ._duration import Duration, warn_of_seconds
from ._lifetime import Greeting, Retired, closed_by_server, last_of_handshake
from ._limited import Counterparts, Limited, with_limit
from ._renewal import Renewal

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._keywords import Keywords

# redis-py 5.0 has no client-side caching.
_CacheProxyConnection: Any = getattr(redis.connection, "CacheProxyConnection", ())


class AgeLimited(Limited):
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
        asks again when it is handed out: by default 60000. It costs a round trip. So it does
        after it has logged in again.
    ``maxage_tell_server``
        Whether the server is told and asked, by ``CONNAGE.SELF``; by default ``True``. ``False``
        for proxies and servers where a command that they don't know is noticed.
    ``maxidle``
        The time without a use, in milliseconds, past which the connection is not used again.
        0, which is the default: no limit.
    ``on_retired``
        Called with a :class:`Retired` after a connection was retired, by the thread that did.
    """

    _pubsub = redis.client.PubSub
    _never = Retry(NoBackoff(), 0)
    socket_timeout: Any

    def __init__(self, *args: Any, **kwargs: Unpack[Keywords]) -> None:
        # Held while it is handed out, or retired as idle: a pool does both at once.
        self._handing = threading.Lock()
        self._telling_caches: int | None = None
        super().__init__(*args, **kwargs)

    # Between two uses.

    def connect(self) -> None:
        """Connects, if need be; if connected and at or near its limit, connects anew."""
        with self._handing:
            self.connage_is_idle = False
            self.connage_uses += 1
        if self._handing_out() and self.connage_life.is_open:
            self._between_uses()
        self._open(super().connect)
        self._handed_out()

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
        if self._first_use_is_due():
            self._renew()
            self._open(super().connect)
        super().send_packed_command(*args, **kwargs)

    def _between_uses(self) -> None:
        life = self.connage_life
        if life.asks_before_use():
            self._ask_again()
        elif self._is_unguarded() and not life.is_due() and not self._caches():
            self._close_if_unread()
        if life.is_due():
            self._renew()

    def _close_if_unread(self) -> None:
        try:
            if self.can_read():
                self.disconnect()
        except Exception:
            self.disconnect()

    def _has_unread(self) -> bool:
        """Whether anything can be read, or it can't be told."""
        try:
            return bool(self.can_read())
        except Exception:
            return True

    def connage_retire(self) -> None:
        """Closes it, counted as retired. Only for a connection that is not in use."""
        self.connage_life.tell(self.connage_close())

    def connage_close(self) -> Retired:
        """As :meth:`connage_retire`; what it returns is to be told where no lock is held."""
        told = self.connage_life.retired()
        self.disconnect()
        return told

    def _renew(self) -> None:
        """Opens it anew, and then closes the old connection. Where none can be made, the old one
        is kept, unless a reply may be on its way to it."""
        self._tell_caches()
        if self._is_forked() or self._has_unread():
            self.connage_retire()
            return
        renewal = Renewal(self, ("_sock",), threading.get_ident)
        try:
            with renewal.once(self._never):
                self._open(super().connect)
            self._wait_at_most(self.socket_timeout)
        except BaseException as error:
            if renewal.failed(error):
                return
            if renewal.is_ended:
                self.disconnect()
                if isinstance(error, Exception):
                    return
            elif isinstance(error, Exception):
                self.connage_retire()
            raise
        old = renewal.old["_sock"]
        for close in (lambda: old.shutdown(socket.SHUT_RDWR), old.close):
            with contextlib.suppress(OSError):
                close()
        renewal.done()

    def _connect(self) -> Any:
        """As redis-py's, TLS too, in what time is left where the old connection works meanwhile."""
        left = self._left()
        if left is None:
            return super()._connect()
        timeout = self.socket_timeout
        self.socket_timeout = left
        try:
            return super()._connect()
        finally:
            self.socket_timeout = timeout

    def _left(self) -> float | None:
        """How long to wait at most where the old connection works meanwhile; else ``None``."""
        renewal = self.connage_renewal
        if renewal is None or not renewal.is_under_way:
            return None
        left = renewal.time_left()
        return min(self.socket_timeout or left, left)

    def _hurry(self) -> None:
        """The next reply has what time is left."""
        left = self._left()
        if left is not None:
            self._wait_at_most(left)

    def _wait_at_most(self, seconds: float | None) -> None:
        sock = self._sock
        if sock is not None:
            with contextlib.suppress(OSError):  # Closed meanwhile: whoever reads will see.
                sock.settimeout(seconds)

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

    @staticmethod
    def _greeting_after(connect_func: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """``redis_connect_func``, which need not call ``on_connect``, with the greeting after it."""

        def connect_and_greet(connection: AgeLimited) -> None:
            connect_func(connection)
            if not connection.connage_life.is_open:
                connection._greet_during(lambda: None)

        return connect_and_greet

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
        self._refuse_bad_settings()
        words = self.connage_life.begin(self._host_error())
        if not words:
            handshake()
            return
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
            self._note(args[0])
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
        # Those of a Sentinel would be left open by what is no RedisError, with the reply to come.
        kwargs.setdefault("disconnect_on_error", True)
        self._hurry()
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
        self._hurry()
        try:
            # Not decoded: the row has names in it that clients chose.
            reply = super().read_response(disable_decoding=True, disconnect_on_error=True)
        except ResponseError as error:
            reply = error
        self.connage_life.answered(reply, greeting)

    def disconnect(self, *args: Any, **kwargs: Any) -> None:
        if self._telling_caches == threading.get_ident():
            return
        if self.connage_renewal is not None:
            self.connage_renewal.disconnected()
        self._is_in_transaction = False
        self.connage_life.ended(closed_by_server())
        self._tell_caches()
        super().disconnect(*args, **kwargs)

    def _tell_caches(self) -> None:
        """What they have got from it, nobody would invalidate any more: they forget it. They
        disconnect it as well, which is its own affair here."""
        if self._telling_caches is not None:
            return
        self._telling_caches = threading.get_ident()
        try:
            for cache in self._caches():
                cache.disconnect()
        finally:
            self._telling_caches = None


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


age_limited = Counterparts(
    AgeLimited,
    Connection,
    SSLConnection,
    UnixDomainSocketConnection,
    SentinelManagedConnection,
    SentinelManagedSSLConnection,
).age_limited


def connection(
    maxage: Duration | None = None,
    *,
    jitter: int | str | None = None,
    margin: Duration | None = None,
    refresh: Duration | None = None,
    tell_server: bool | str | None = None,
    maxidle: Duration | None = None,
    on_retired: Callable[[Retired], object] | None = None,
    base: type = Connection,
) -> type[Connection]:
    """A connection class that knows its limit, for pools that drop keywords they don't know::

        RedisCluster(..., connection_class=connage.connection(maxage="5m"))

    ``base`` is one of the classes here or of redis-py's; the rest are the keywords of
    :class:`AgeLimited`, durations in milliseconds or as words. The class has counters of its
    own: its ``connage_stats()`` tells of all connections that are made of it.
    """
    warn_of_seconds(maxage)
    own = (maxage, jitter, margin, refresh, tell_server, maxidle, on_retired)
    limited: type[Connection] = with_limit(age_limited(base), *own)
    return limited
