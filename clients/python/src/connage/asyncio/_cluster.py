"""redis-py's asyncio Cluster, which neither takes a connection class nor connects on handing out."""

from __future__ import annotations

from typing import Any, Callable

import redis.asyncio.cluster
import redis.asyncio.connection

from .._duration import Duration, warn_of_seconds
from .._lifetime import Retired, Stats
from .._limited import with_limit
from ._connection import AgeLimited, Connection, SSLConnection

_HOLDING = {b"WATCH", b"MULTI"}
_LETTING_GO = {b"EXEC", b"DISCARD", b"UNWATCH"}


class ClusterNodeConnection(AgeLimited):
    """A connection that finds out by itself where a use begins, since a cluster's nodes hand
    their connections out without a word: at a command that is packed while no reply is on its
    way and no transaction is open."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._replies_to_come = 0
        self._in_transaction = False
        self._use_begins = False
        super().__init__(*args, **kwargs)

    def pack_command(self, *args: Any) -> Any:
        # First, since what can't be packed is not sent either.
        packed = super().pack_command(*args)
        # The greeting and its handshake are no use of the connection.
        if self._greeting is None and not self._is_held():
            if self._replies_to_come == 0 and not self._in_transaction:
                self._use_begins = True
            self._replies_to_come += 1
            word = args[0].encode() if isinstance(args[0], str) else bytes(args[0])
            if word.upper() in _HOLDING:
                self._in_transaction = True
            elif word.upper() in _LETTING_GO:
                self._in_transaction = False
        return packed

    def pack_commands(self, commands: Any) -> Any:
        before = self._replies_to_come, self._in_transaction, self._use_begins
        try:
            return super().pack_commands(commands)
        except BaseException:
            # None of them is sent.
            self._replies_to_come, self._in_transaction, self._use_begins = before
            raise

    async def send_packed_command(self, *args: Any, **kwargs: Any) -> None:
        if self._use_begins and self._greeting is None:
            self._use_begins = False
            packed = self._replies_to_come, self._in_transaction
            try:
                if self.is_connected and not self._is_held():
                    await self.connage_between_uses()
                if not self.is_connected:
                    await self.connect()
            except BaseException:
                # What is packed is not sent.
                self._replies_to_come, self._in_transaction = 0, False
                raise
            self._replies_to_come, self._in_transaction = packed
        await super().send_packed_command(*args, **kwargs)

    async def read_response(self, *args: Any, **kwargs: Any) -> Any:
        if self._greeting is None and self._replies_to_come > 0:
            self._replies_to_come -= 1
        return await super().read_response(*args, **kwargs)

    async def disconnect(self, *args: Any, **kwargs: Any) -> None:
        self._replies_to_come = 0
        self._in_transaction = self._use_begins = False
        await super().disconnect(*args, **kwargs)


class _Plain(ClusterNodeConnection, Connection):
    pass


class _Tls(ClusterNodeConnection, SSLConnection):
    pass


class RedisCluster(redis.asyncio.cluster.RedisCluster):
    """redis-py's asyncio Cluster client, of connections with a limit to their age.

    Takes redis-py's keywords and those of :class:`connage.AgeLimited`.
    """

    def __init__(
        self,
        *args: Any,
        maxage: Duration | None = None,
        maxage_jitter: int | str | None = None,
        maxage_margin: Duration | None = None,
        maxage_refresh: Duration | None = None,
        maxage_tell_server: bool | str | None = None,
        maxidle: Duration | None = None,
        on_retired: Callable[[Retired], object] | None = None,
        **kwargs: Any,
    ) -> None:
        warn_of_seconds(maxage)
        times = (maxage, maxage_jitter, maxage_margin, maxage_refresh)
        own = (*times, maxage_tell_server, maxidle, on_retired)
        limited = {False: with_limit(_Plain, *own), True: with_limit(_Tls, *own)}
        super().__init__(*args, **kwargs)
        is_tls = (
            self.connection_kwargs["connection_class"] is redis.asyncio.connection.SSLConnection
        )
        self._connage_class = limited[is_tls]
        # Nodes that are found later are made with these keywords; the first ones are made.
        self.connection_kwargs["connection_class"] = self._connage_class
        self.nodes_manager.connection_kwargs["connection_class"] = self._connage_class
        for node in self.nodes_manager.startup_nodes.values():
            node.connection_class = self._connage_class

    def connage_stats(self) -> Stats:
        """What happened to the connections to all nodes: a :class:`~connage.Stats`."""
        stats: Stats = self._connage_class.connage_stats()
        return stats

    def retire_all(self) -> None:
        """Retires all connections, each before its next use."""
        self._connage_class.connage_retire_all()
