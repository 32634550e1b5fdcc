"""redis-py's asyncio pools, made of connections with a limit to their age."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import redis.asyncio
import redis.asyncio.connection

from .._limited_pool import LimitedPool, is_idle_and_due, mark_as_idle, marked_as_in_use
from ._connection import Connection, age_limited

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .._keywords import Keywords


class AgeLimitedPool(LimitedPool):
    """What the pools here add to redis-py's: counters, and an eye on idle connections."""

    def __init__(self, connection_class: Any, **kwargs: Any) -> None:
        super().__init__(redis.asyncio.Redis, age_limited(connection_class), **kwargs)

    async def get_connection(self, *args: Any, **kwargs: Any) -> Any:
        """Hands a connection out, opened anew if it was at or near its limit."""
        connection = await super().get_connection(*args, **kwargs)
        # After it: where it could not be opened anew, idle ones are not closed either.
        try:
            for idle in self._idle_and_due():
                # Another task may have taken it meanwhile.
                if is_idle_and_due(idle):
                    await idle.connage_retire()
        except BaseException:
            await self.release(connection)
            raise
        return connection

    async def release(self, connection: Any) -> None:
        """Takes a connection back."""
        inner, use = marked_as_in_use(connection)
        try:
            await _log_in_again(connection)
        finally:
            await super().release(connection)
            mark_as_idle(inner, use)


async def _log_in_again(connection: Any) -> None:
    """As redis-py does by itself, with a new token, but only when others may use it already, and
    one of them would get its reply."""
    try:
        if hasattr(connection, "re_auth"):
            await connection.re_auth()
    except BaseException as error:
        connection.set_re_auth_token(None)
        await connection.disconnect(nowait=True)
        if not isinstance(error, Exception):
            raise


class ConnectionPool(AgeLimitedPool, redis.asyncio.connection.ConnectionPool):
    """redis-py's asyncio pool, of connections with a limit to their age::

        pool = connage.asyncio.ConnectionPool(max_connections=100, maxage="5m")

    Takes redis-py's keywords and those of :class:`connage.AgeLimited`.
    """

    def __init__(
        self,
        connection_class: type = Connection,
        max_connections: int | None = None,
        **kwargs: Unpack[Keywords],
    ) -> None:
        super().__init__(connection_class, max_connections=max_connections, **kwargs)


class BlockingConnectionPool(AgeLimitedPool, redis.asyncio.connection.BlockingConnectionPool):
    """redis-py's asyncio blocking pool, of connections with a limit to their age."""

    def __init__(
        self,
        max_connections: int = 50,
        timeout: float | None = 20,
        connection_class: type = Connection,
        **kwargs: Unpack[Keywords],
    ) -> None:
        super().__init__(
            connection_class, max_connections=max_connections, timeout=timeout, **kwargs
        )
