"""A pytest plugin that puts the classes of this package in place of redis-py's own, for
redis-py's tests: every connection that they open has a limit then."""

from __future__ import annotations

import inspect
from typing import Any

import connage.asyncio
import pytest
import redis
import redis.asyncio
import redis.asyncio.connection
import redis.client
import redis.cluster
import redis.connection
from connage._lifetime import Policy

NAMES = ("Connection", "SSLConnection", "UnixDomainSocketConnection")

EXCLUDED = {
    # A mock answers for the server, with as many replies as redis-py's own handshake reads.
    "test_default_config_client_executes_commands_without_maint_notifications": "answers are mocked",
}


def replace(ours: Any, theirs: Any, *others: Any) -> None:
    for name in NAMES:
        own, limited = getattr(theirs, name), getattr(ours, name)
        limited.connage_policy = Policy(maxage_ms=300_000)
        limited.__qualname__, limited.__module__ = own.__qualname__, own.__module__
        for module in (theirs, *others):
            if getattr(module, name, None) is own:
                setattr(module, name, limited)
        for pool in (theirs.ConnectionPool, theirs.BlockingConnectionPool):
            function = inspect.unwrap(pool.__init__)
            function.__defaults__ = tuple(
                limited if default is own else default for default in function.__defaults__ or ()
            )


replace(connage, redis.connection, redis, redis.client, redis.cluster)
replace(connage.asyncio, redis.asyncio.connection, redis.asyncio, redis.asyncio.client)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    excluded = [item for item in items if item.name.split("[")[0] in EXCLUDED]
    config.hook.pytest_deselected(items=excluded)
    items[:] = [item for item in items if item not in excluded]


def pytest_terminal_summary(terminalreporter: Any) -> None:
    limited = redis.connection.Connection is connage.Connection
    assert limited and redis.ConnectionPool(host="x").connection_class is connage.Connection
    for name, reason in EXCLUDED.items():
        terminalreporter.write_line(f"excluded: {name}: {reason}")
