"""What pools of connections with a limit have in common, sync and asyncio: nothing here waits."""

from __future__ import annotations

import copy
import inspect
import os
import time
from typing import TYPE_CHECKING, Any


from ._duration import warn_of_seconds
from ._keywords import NAMES
from ._lifetime import Counters, Stats
from ._limited import Limited

if TYPE_CHECKING:

    class _Base:
        """What is used of redis-py's pools, whose types differ from version to version."""

        get_connection: Any
        release: Any
        make_connection: Any
        reset: Any

        def __init__(self, *args: Any, **kwargs: Any) -> None: ...

else:
    _Base = object

LOOK_EVERY_MS = 50
"""At most so long apart a pool in use looks at its idle connections."""


class LimitedPool(_Base):
    """Counters, and which connections there are."""

    def __init__(self, client: type, connection_class: Any, **kwargs: Any) -> None:
        own = {name: kwargs.get(name) for name in NAMES}
        policy = connection_class.connage_policy.but(**own)
        warn_of_seconds(own["maxage"], depth=3)
        self._connage_counters = Counters()
        # At most: a limit may be shorter than the margin.
        self._look_every = min(policy.margin_ms, LOOK_EVERY_MS) / 2000
        self._next_look = 0.0
        self._connage_made: list[Any] = []
        self._connage_pid = os.getpid()
        kwargs["maxage_counters"] = self._connage_counters
        if "retry" not in kwargs and not kwargs.get("retry_on_timeout"):
            kwargs["retry"] = default_retry(client)
        super().__init__(connection_class=connection_class, **kwargs)

    def connage_stats(self) -> Stats:
        """What happened to this pool's connections: a :class:`~connage.Stats`."""
        return self._connage_counters.stats()

    def retire_all(self) -> None:
        """Retires all connections, each before its next use: those in use after this one, idle
        ones when they are handed out or looked at. After a change of a password, say."""
        self._connage_counters.retire_all()

    def reset(self) -> None:
        self._connage_made = []
        self._connage_pid = os.getpid()
        super().reset()

    def make_connection(self) -> Any:
        made = super().make_connection()
        inner = getattr(made, "_conn", made)  # within a CacheProxyConnection
        if isinstance(inner, Limited):
            self._connage_made.append(inner)
        return made

    def _idle_and_due(self) -> list[Any]:
        """Whom to retire, now and then: so that while the pool is in use, those that nobody
        needs just now don't wait for the server to do it."""
        now = time.monotonic()
        if now < self._next_look or self._connage_pid != os.getpid():
            return []  # Forked: they are the parent's until redis-py has reset the pool.
        self._next_look = now + self._look_every
        return [made for made in self._connage_made if is_idle_and_due(made)]


def is_idle_and_due(connection: Any) -> bool:
    return bool(
        connection.connage_is_idle
        and connection.connage_life.is_due()
        and not connection._is_held()
    )


def marked_as_in_use(connection: Any) -> tuple[Any, int]:
    """A connection that is to be released, and which use of it that ends."""
    inner = getattr(connection, "_conn", connection)
    return inner, getattr(inner, "connage_uses", 0)


def mark_as_idle(connection: Any, use: int) -> None:
    """It was released; unless somebody else has got it in the meantime."""
    if isinstance(connection, Limited) and connection.connage_uses == use:
        connection.connage_life.used()
        connection.connage_is_idle = True


def default_retry(client: type) -> Any:
    """What that client of redis-py retries by default, which pools of its own don't."""
    parameter = inspect.signature(client.__init__).parameters["retry"]  # type: ignore[misc]
    return copy.deepcopy(parameter.default)
