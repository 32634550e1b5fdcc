"""redis-py's asyncio connections, with a limit to their age."""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, Callable

import redis.asyncio.client
import redis.asyncio.connection
import redis.asyncio.sentinel
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ResponseError

from .._duration import Duration, warn_of_seconds
from .._lifetime import Greeting, Retired, closed_by_server, last_of_handshake
from .._limited import Counterparts, Limited, with_limit
from .._renewal import LONGEST_TRY_S, Renewal

# Not asyncio.wait_for: it may swallow a cancellation, before Python 3.12, and it connects in a task
# of its own, which would be taken for another that disconnects.
if sys.version_info >= (3, 11):
    from asyncio import timeout
else:
    from async_timeout import timeout

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .._keywords import Keywords


class AgeLimited(Limited):
    """As :class:`connage.AgeLimited`, with the same keywords, for asyncio."""

    _pubsub = redis.asyncio.client.PubSub
    _never = Retry(NoBackoff(), 0)

    def __init__(self, *args: Any, **kwargs: Unpack[Keywords]) -> None:
        super().__init__(*args, **kwargs)

    # Between two uses.

    async def connect(self) -> None:
        """Connects, if need be; if connected and at or near its limit, connects anew."""
        self.connage_is_idle = False
        self.connage_uses += 1
        if self._handing_out() and self.is_connected:
            await self.connage_between_uses()
        await self._open(super().connect())
        self._handed_out()

    async def connect_check_health(self, *args: Any, **kwargs: Any) -> None:
        """As :meth:`connect`, which in redis-py 6 and later comes here; so do commands."""
        await self._open(super().connect_check_health(*args, **kwargs))

    async def _open(self, connecting: Awaitable[Any]) -> None:
        """Connects, or leaves it closed: as in :class:`connage.AgeLimited`. A cancellation is
        a failure too."""
        try:
            await connecting
        except BaseException:
            await self.disconnect(nowait=True)
            raise

    async def send_packed_command(self, *args: Any, **kwargs: Any) -> None:
        if self._first_use_is_due():
            await self._renew()
            await self._open(super().connect())
        await super().send_packed_command(*args, **kwargs)

    async def connage_between_uses(self) -> None:
        """Closes it if it is at or near its limit, or if the server has closed it."""
        if self._reader is not None and self._reader.at_eof():
            # Some versions of redis-py would hand it out.
            self.connage_life.ended(True)
            await self.disconnect(nowait=True)
            return
        life = self.connage_life
        if life.asks_before_use():
            await self._ask_again()
        elif self._is_unguarded() and not life.is_due() and await self._has_unread():
            await self.disconnect(nowait=True)
        if life.is_due():
            await self._renew()

    async def connage_retire(self) -> None:
        """Closes it, counted as retired. Only for a connection that is not in use."""
        told = self.connage_life.retired()
        await self.disconnect(nowait=True)
        self.connage_life.tell(told)

    async def _renew(self) -> None:
        """As in :class:`connage.AgeLimited`."""
        if self._is_forked() or await self._has_unread():
            await self.connage_retire()
            return
        renewal = Renewal(self, ("_reader", "_writer"), asyncio.current_task)
        try:
            with renewal.once(self._never):
                async with timeout(LONGEST_TRY_S):
                    await self._open(super().connect())
        except BaseException as error:
            if renewal.failed(error):
                return
            if renewal.is_ended:
                await self.disconnect(nowait=True)
                if isinstance(error, Exception):
                    return
            elif isinstance(error, Exception):
                await self.connage_retire()
            raise
        renewal.old["_writer"].close()
        renewal.done()

    async def _ask_again(self) -> None:
        """As in :class:`connage.AgeLimited`."""
        try:
            if await self._can_read():
                # A reply that nobody has read, which ours would come after.
                await self.disconnect(nowait=True)
                return
            greeting = Greeting(self.connage_life.question(), None)
            await super().send_command(*greeting.words, check_health=False)
            greeting.sent()
            await self._read_answer(greeting)
        except Exception:
            await self.disconnect(nowait=True)
        except BaseException:
            await self.disconnect(nowait=True)
            raise

    async def _has_unread(self) -> bool:
        """Whether anything can be read, or it can't be told."""
        try:
            return await self._can_read()
        except Exception:
            return True

    async def _can_read(self) -> bool:
        """Whether anything can be read, be it in the stream or in hiredis' own buffer."""
        # Named so in redis-py 5 to 7.
        ask = getattr(super(), "can_read", None) or super().can_read_destructive
        return bool(await ask())

    # On connecting.

    @staticmethod
    def _greeting_after(connect_func: Callable[[Any], Any]) -> Callable[[Any], Awaitable[None]]:
        """``redis_connect_func``, which need not call ``on_connect``, with the greeting after it."""

        async def connect_and_greet(connection: AgeLimited) -> None:
            result = connect_func(connection)
            if inspect.isawaitable(result):
                await result
            if not connection.connage_life.is_open:
                await connection._greet_during(_nothing)

        return connect_and_greet

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
        self._refuse_bad_settings()
        words = self.connage_life.begin(self._host_error())
        if not words:
            await handshake()
            return
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
            self._note(args[0])
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
            reply = error
        self.connage_life.answered(reply, greeting)

    async def disconnect(self, *args: Any, **kwargs: Any) -> None:
        if self.connage_renewal is not None:
            self.connage_renewal.disconnected()
        self._is_in_transaction = False
        self.connage_life.ended(closed_by_server())
        await super().disconnect(*args, **kwargs)


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
    """As :func:`connage.connection`, for asyncio."""
    warn_of_seconds(maxage)
    own = (maxage, jitter, margin, refresh, tell_server, maxidle, on_retired)
    limited: type[Connection] = with_limit(age_limited(base), *own)
    return limited
