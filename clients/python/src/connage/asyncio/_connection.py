"""redis-py's asyncio connections, with a limit to their age."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable
from typing import Any, Callable, ClassVar

import redis.asyncio.connection
import redis.asyncio.sentinel
from redis.exceptions import ConnectionError, ResponseError, TimeoutError

from .._duration import Duration
from .._lifetime import (
    Counters,
    Greeting,
    Lifetime,
    Policy,
    Stats,
    closed_by_server,
    last_of_handshake,
)

# What it mixes in with has other types in each version of redis-py.
_Base: Any = object


class AgeLimited(_Base):
    """As :class:`connage.AgeLimited`, with the same keywords, for asyncio."""

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
        connect_func = kwargs.get("redis_connect_func")
        if connect_func is not None:
            kwargs["redis_connect_func"] = _greeting_after(connect_func)
        super().__init__(*args, **kwargs)

    @classmethod
    def connage_stats(cls) -> Stats:
        """What happened to the connections of this class that no connage pool counts."""
        return cls.connage_counters.stats()

    # Between two uses.

    async def connect(self) -> None:
        """Connects, if need be; if connected and at or near its limit, connects anew."""
        self._is_handed_out = False
        if self.is_connected and not self._is_held():
            await self.connage_between_uses()
        await super().connect()
        self._is_handed_out = True

    async def send_packed_command(self, *args: Any, **kwargs: Any) -> None:
        if self._is_handed_out:
            # The first command of a use: other tasks may have had long turns before it.
            self._is_handed_out = False
            if self.connage_life.is_due() and not self._is_held():
                await self.connage_retire()
                await super().connect()
        await super().send_packed_command(*args, **kwargs)

    def _is_held(self) -> bool:
        """Whether somebody keeps it, as a PubSub does, which connects whenever it reads."""
        return any(callback() is not None for callback in self._connect_callbacks)

    async def connage_between_uses(self) -> None:
        """Closes it if it is at or near its limit, or if the server has closed it."""
        if self._reader is not None and self._reader.at_eof():
            # Some versions of redis-py would hand it out.
            self.connage_life.ended(True, self._host_error())
            await self.disconnect(nowait=True)
            return
        if self.connage_life.wants_news() and not self.connage_life.is_due():
            await self._ask_again()
        if self.connage_life.is_due():
            await self.connage_retire()

    async def connage_retire(self) -> None:
        """Closes it, counted as retired. Only for a connection that is not in use."""
        self.connage_life.retired(self._host_error())
        await self.disconnect(nowait=True)

    async def _ask_again(self) -> None:
        reader: Any = self._reader
        if reader._buffer:
            return  # Not ready for a command: the pool sees to that.
        try:
            greeting = Greeting((), ())
            await self.send_command("CONNAGE.SELF", check_health=False)
            greeting.sent()
            await self._read_answer(greeting)
        except (ConnectionError, TimeoutError, OSError):
            await self.disconnect(nowait=True)

    # On connecting.

    async def on_connect(self) -> None:
        await self._greet_during(super().on_connect)

    async def on_connect_check_health(self, check_health: bool = True) -> None:
        """As :meth:`on_connect`, which in redis-py 6 and later comes here."""
        handshake = super().on_connect_check_health
        await self._greet_during(lambda: handshake(check_health=check_health))

    async def _greet_during(self, handshake: Callable[[], Awaitable[Any]]) -> None:
        if self._greeting is not None:
            await handshake()
            return
        words = self.connage_life.begin()
        self._greeting = greeting = Greeting(words, last_of_handshake(self))
        try:
            await handshake()
        finally:
            self._greeting = None
        if not greeting.is_sent:
            # There was nothing to go with: a round trip of its own.
            await super().send_command(*words, check_health=False)
            greeting.sent()
            await self._read_answer(greeting)

    async def send_command(self, *args: Any, **kwargs: Any) -> None:
        greeting = self._greeting
        if greeting is None:
            await super().send_command(*args, **kwargs)
            return
        if not greeting.rides_on(args):
            await super().send_command(*args, **kwargs)
            greeting.command_sent()
            return
        if kwargs.get("check_health", True):
            await self.check_health()
        both = [*self.pack_command(*args), *self.pack_command(*greeting.words)]
        greeting.command_sent()
        greeting.sent()
        await self.send_packed_command([b"".join(both)], check_health=False)

    async def read_response(self, *args: Any, **kwargs: Any) -> Any:
        greeting = self._greeting
        if greeting is None:
            return await super().read_response(*args, **kwargs)
        try:
            reply = await super().read_response(*args, **kwargs)
        except ResponseError:
            if greeting.is_next():
                await self._read_answer(greeting)
            raise
        if greeting.is_next():
            await self._read_answer(greeting)
        return reply

    async def _read_answer(self, greeting: Greeting) -> None:
        try:
            # Not decoded: the row has names in it that clients chose.
            reply = await super().read_response(disable_decoding=True)
        except ResponseError as error:
            self.connage_life.refused(str(error), self._host_error())
        else:
            self.connage_life.told(reply, greeting.asked_at, self._host_error())

    async def disconnect(self, *args: Any, **kwargs: Any) -> None:
        self.connage_life.ended(closed_by_server(), self._host_error())
        await super().disconnect(*args, **kwargs)


def _greeting_after(connect_func: Callable[[Any], Any]) -> Callable[[Any], Awaitable[None]]:
    """``redis_connect_func``, which need not call ``on_connect``, with the greeting after it."""

    async def connect_and_greet(connection: AgeLimited) -> None:
        result = connect_func(connection)
        if inspect.isawaitable(result):
            await result
        if not connection.connage_life.is_open:
            await connection._greet_during(_nothing)

    return connect_and_greet


async def _nothing() -> None:
    pass


class Connection(AgeLimited, redis.asyncio.connection.Connection):
    """A TCP connection with a limit to its age: see :class:`connage.AgeLimited`."""


class SSLConnection(AgeLimited, redis.asyncio.connection.SSLConnection):
    """A TLS connection with a limit to its age."""


class UnixDomainSocketConnection(AgeLimited, redis.asyncio.connection.UnixDomainSocketConnection):
    """A unix socket connection with a limit to its age."""


class SentinelManagedConnection(AgeLimited, redis.asyncio.sentinel.SentinelManagedConnection):
    """A connection of an asyncio Sentinel pool with a limit to its age."""


class SentinelManagedSSLConnection(AgeLimited, redis.asyncio.sentinel.SentinelManagedSSLConnection):
    """A TLS connection of an asyncio Sentinel pool with a limit to its age."""


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
    """As :func:`connage.connection`, for asyncio."""
    parent = age_limited(base)
    policy = parent.connage_policy.but(maxage, jitter, margin, refresh)
    attributes = {"connage_policy": policy, "connage_counters": Counters()}
    return type(parent.__name__, (parent,), attributes)
