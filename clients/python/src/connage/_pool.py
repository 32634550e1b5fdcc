"""redis-py's pools, made of connections with a limit to their age."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import redis
import redis.connection

from ._connection import Connection, age_limited
from ._limited_pool import LimitedPool, is_idle_and_due, mark_as_idle, marked_as_in_use

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._keywords import Keywords


class AgeLimitedPool(LimitedPool):
    """What the pools here add to redis-py's: counters, and an eye on idle connections."""

    def __init__(self, connection_class: Any, **kwargs: Any) -> None:
        super().__init__(redis.Redis, age_limited(connection_class), **kwargs)

    def get_connection(self, *args: Any, **kwargs: Any) -> Any:
        """Hands a connection out, opened anew if it was at or near its limit."""
        connection = super().get_connection(*args, **kwargs)
        # After it: where it could not be opened anew, idle ones are not closed either.
        try:
            self._retire_idle()
        except BaseException:
            self.release(connection)
            raise
        return connection

    def release(self, connection: Any) -> None:
        """Takes a connection back."""
        inner, use = marked_as_in_use(connection)
        super().release(connection)
        with getattr(inner, "_handing", contextlib.nullcontext()):
            mark_as_idle(inner, use)

    def _retire_idle(self) -> None:
        due = self._idle_and_due()
        if not due:
            return
        told = []
        # A client-side cache reads from idle connections, and holds this lock meanwhile.
        with getattr(self, "_lock", contextlib.nullcontext()):
            for connection in due:
                # Another thread may be handing it out just now.
                if not connection._handing.acquire(blocking=False):
                    continue
                try:
                    if is_idle_and_due(connection):
                        told.append((connection, connection.connage_close()))
                finally:
                    connection._handing.release()
        for connection, retired in told:
            connection.connage_life.tell(retired)


class ConnectionPool(AgeLimitedPool, redis.connection.ConnectionPool):
    """redis-py's pool, of connections with a limit to their age::

        pool = connage.ConnectionPool(max_connections=100, maxage="5m")

    Takes redis-py's keywords and those of :class:`~connage.AgeLimited`.
    """

    def __init__(
        self,
        connection_class: type = Connection,
        max_connections: int | None = None,
        **kwargs: Unpack[Keywords],
    ) -> None:
        super().__init__(connection_class, max_connections=max_connections, **kwargs)


class BlockingConnectionPool(AgeLimitedPool, redis.connection.BlockingConnectionPool):
    """redis-py's blocking pool, of connections with a limit to their age."""

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
