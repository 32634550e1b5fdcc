"""redis-py's pools, made of connections with a limit to their age."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any

import redis.connection

from ._connection import AgeLimited, Connection, age_limited
from ._lifetime import Counters, Stats

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

    def get_connection(self, *args: Any, **kwargs: Any) -> Any:
        """Hands a connection out, opened anew if it was at or near its limit."""
        self._checkpid()
        self._retire_idle()
        return super().get_connection(*args, **kwargs)

    def _retire_idle(self) -> None:
        """Closes idle connections that are at or near their limit, so that while the pool is in
        use, those that nobody needs just now don't wait for the server to do it."""
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + self._look_every
        with self._idle_lock():
            for idle in self._idle():
                inner = getattr(idle, "_conn", idle)  # within a CacheProxyConnection
                if isinstance(inner, AgeLimited) and inner.connage_life.is_due():
                    inner.connage_retire()

    def _idle_lock(self) -> AbstractContextManager[Any]:
        lock: AbstractContextManager[Any] = self._lock
        return lock

    def _idle(self) -> Iterable[Any]:
        return list(self._available_connections)


class ConnectionPool(AgeLimitedPool, redis.connection.ConnectionPool):
    """redis-py's pool, of connections with a limit to their age::

        pool = connage.ConnectionPool(max_connections=100, maxage=300000)  # 5 minutes

    Takes redis-py's keywords and those of :class:`~connage.AgeLimited`.
    """

    def __init__(
        self,
        connection_class: Any = Connection,
        max_connections: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(connection_class, max_connections=max_connections, **kwargs)


class BlockingConnectionPool(AgeLimitedPool, redis.connection.BlockingConnectionPool):
    """redis-py's blocking pool, of connections with a limit to their age."""

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

    def _idle_lock(self) -> AbstractContextManager[Any]:
        mutex: AbstractContextManager[Any] = self.pool.mutex
        return mutex

    def _idle(self) -> Iterable[Any]:
        return [idle for idle in self.pool.queue if idle is not None]
