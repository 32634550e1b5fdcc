"""redis-py's asyncio pools, made of connections with a limit to their age."""

from __future__ import annotations

import time
from typing import Any

import redis.asyncio.connection

from .._lifetime import Counters, Stats
from ._connection import AgeLimited, Connection, age_limited

_Base: Any = object  # Its pools have other types in each version of redis-py.


class AgeLimitedPool(_Base):
    """What the pools here add to redis-py's: counters, and an eye on idle connections."""

    def __init__(self, connection_class: Any = Connection, **kwargs: Any) -> None:
        self._connage_counters = Counters()
        kwargs["maxage_counters"] = self._connage_counters
        connection_class = age_limited(connection_class)
        settings = ("maxage", "maxage_jitter", "maxage_margin", "maxage_refresh")
        policy = connection_class.connage_policy.but(*map(kwargs.get, settings))
        # At most: a limit may be shorter than the margin.
        self._look_every = min(policy.margin_ms, 50) / 2000
        self._next_look = 0.0
        super().__init__(connection_class=connection_class, **kwargs)

    def connage_stats(self) -> Stats:
        """What happened to this pool's connections: a :class:`~connage.Stats`."""
        return self._connage_counters.stats()

    async def get_connection(self, *args: Any, **kwargs: Any) -> Any:
        """Hands a connection out, opened anew if it was at or near its limit."""
        await self._retire_idle()
        return await super().get_connection(*args, **kwargs)

    async def _retire_idle(self) -> None:
        """Closes idle connections that are at or near their limit, so that while the pool is in
        use, those that nobody needs just now don't wait for the server to do it."""
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + self._look_every
        # Closing does not wait, so no other task can take one of these meanwhile.
        for idle in self._idle():
            if isinstance(idle, AgeLimited) and idle.connage_life.is_due():
                await idle.connage_retire()

    def _idle(self) -> list[Any]:
        queue = getattr(self, "pool", None)  # of a blocking pool in redis-py 5.0
        return list(self._available_connections if queue is None else queue._queue)


class ConnectionPool(AgeLimitedPool, redis.asyncio.connection.ConnectionPool):
    """redis-py's asyncio pool, of connections with a limit to their age::

        pool = connage.asyncio.ConnectionPool(max_connections=100, maxage="5m")

    Takes redis-py's keywords and those of :class:`connage.AgeLimited`.
    """

    def __init__(
        self,
        connection_class: Any = Connection,
        max_connections: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(connection_class, max_connections=max_connections, **kwargs)


class BlockingConnectionPool(AgeLimitedPool, redis.asyncio.connection.BlockingConnectionPool):
    """redis-py's asyncio blocking pool, of connections with a limit to their age."""

    def __init__(
        self,
        max_connections: int = 50,
        timeout: float | None = 20,
        connection_class: Any = Connection,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            connection_class, max_connections=max_connections, timeout=timeout, **kwargs
        )
