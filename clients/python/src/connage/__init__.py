"""Connections that retire by age, between two uses: the client's half of the server module."""

from . import asyncio
from ._connection import (
    AgeLimited,
    Connection,
    SentinelManagedConnection,
    SentinelManagedSSLConnection,
    SSLConnection,
    UnixDomainSocketConnection,
    connection,
)
from ._duration import Duration, milliseconds
from ._lifetime import Retired, Stats
from ._pool import BlockingConnectionPool, ConnectionPool

__all__ = [
    "AgeLimited",
    "BlockingConnectionPool",
    "Connection",
    "ConnectionPool",
    "Duration",
    "Retired",
    "SSLConnection",
    "SentinelManagedConnection",
    "SentinelManagedSSLConnection",
    "Stats",
    "UnixDomainSocketConnection",
    "asyncio",
    "connection",
    "milliseconds",
]
