"""The same for asyncio: names as in :mod:`connage`."""

from ._cluster import RedisCluster
from ._connection import (
    AgeLimited,
    Connection,
    SentinelManagedConnection,
    SentinelManagedSSLConnection,
    SSLConnection,
    UnixDomainSocketConnection,
    connection,
)
from ._pool import BlockingConnectionPool, ConnectionPool

__all__ = [
    "AgeLimited",
    "BlockingConnectionPool",
    "Connection",
    "ConnectionPool",
    "RedisCluster",
    "SSLConnection",
    "SentinelManagedConnection",
    "SentinelManagedSSLConnection",
    "UnixDomainSocketConnection",
    "connection",
]
