"""One retirement that opens the new connection before it closes the old one, sync and asyncio: nothing
here waits."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Callable

from redis.exceptions import AuthenticationError, AuthorizationError, ResponseError

from ._private import record_closed

LONGEST_TRY_S = 2.0
"""So long a new connection may take to open and log in while the old one still works."""

# What the server itself says of a login, or of what redis-py asks for on connecting, holds for the
# old connection as well: it is not kept.
_REFUSED = (AuthenticationError, AuthorizationError, ResponseError)


class Renewal:
    """Sets the open connection aside, with what redis-py sets on connecting, so that the connection
    object is a closed one. Nothing may lie unread."""

    def __init__(
        self, connection: Any, transport: tuple[str, ...], who: Callable[[], object]
    ) -> None:
        """``transport``: the attributes that hold the socket; ``None`` of a closed connection.
        ``who``: the thread or task that asks."""
        self._connection = connection
        self._who = who
        self._owner = who()
        self.is_under_way = False
        """Whether it connects just now."""
        self.is_ended = False
        """Whether another thread or task has disconnected it meanwhile, which the old one must
        not outlive."""
        self._life = life = connection.connage_life
        self._told = life.as_retired()
        self._old_life = life.set_aside()
        self._tried_at = time.monotonic()
        names = (*transport, "_parser", "host", "port", "handshake_metadata")
        self.old = {name: getattr(connection, name) for name in names if hasattr(connection, name)}
        for name in transport:
            setattr(connection, name, None)
        connection.connage_renewal = self

    def disconnected(self) -> None:
        """Somebody disconnects it: the attempt itself, that fails, or another."""
        if self._who() != self._owner:
            self.is_ended = True

    def time_left(self) -> float:
        """In seconds; never 0, which would be not to wait at all."""
        return max(self._tried_at + LONGEST_TRY_S - time.monotonic(), 0.001)

    @contextmanager
    def once(self, never: Any) -> Iterator[None]:
        """Meanwhile it connects without retries, and without waiting for long."""
        connection = self._connection
        retry, timeout = connection.retry, getattr(connection, "socket_connect_timeout", None)
        connection.retry = never
        self.is_under_way = True
        connection.socket_connect_timeout = min(timeout or LONGEST_TRY_S, LONGEST_TRY_S)
        try:
            yield
        finally:
            self.is_under_way = False
            connection.retry, connection.socket_connect_timeout = retry, timeout

    def failed(self, why: BaseException) -> bool:
        """Puts the old connection back; whether it is to be used on."""
        for name, value in self.old.items():
            setattr(self._connection, name, value)
        # Nothing lay unread: the parser can begin afresh.
        self._connection._parser.on_connect(self._connection)
        self._life.put_back(self._old_life)
        self._connection.connage_renewal = None
        # Not before: whoever disconnects it from here on closes the old one.
        if self.is_ended:
            return False
        if not isinstance(why, Exception) or isinstance(why, _REFUSED):
            return False
        # A Sentinel may have told of another primary meanwhile.
        sentinels = getattr(self._connection, "connection_pool", None)
        if sentinels is not None and sentinels.is_master:
            if sentinels.master_address != (self._connection.host, self._connection.port):
                return False
        self._life.kept(why, self._tried_at)
        return True

    def done(self) -> None:
        """The new connection is open, and the old one closed."""
        self._connection.connage_renewal = None
        record_closed()
        self._life.count_retired(self._told)
        self._life.tell(self._told)
