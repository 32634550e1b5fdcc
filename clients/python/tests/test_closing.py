"""What a connection's end leaves behind: no stale values, no connection without its login."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
import redis
import redis.asyncio
import redis.connection
from redis.credentials import CredentialProvider
from servers import Server, eventually, running, take, until

import connage


class OwnError(Exception):
    pass


@pytest.mark.skipif(not hasattr(redis.connection, "CacheProxyConnection"), reason="no cache yet")
@pytest.mark.parametrize("how", ["between commands", "at a command"])
def test_what_a_connection_had_cached_that_the_server_closed_is_forgotten(how: str) -> None:
    from redis.cache import CacheConfig

    refresh = 0 if how == "between commands" else "1h"
    with running("redis-8.2") as server:
        pool: Any = connage.ConnectionPool(
            port=server.port,
            protocol=3,
            cache_config=CacheConfig(),
            maxage_refresh=refresh,
            client_name="caches",
        )
        client: Any = redis.Redis(connection_pool=pool)
        for n in range(10):
            server.admin.set("key", n)
            assert client.get("key") == str(n).encode()
            server.admin.client_kill_filter(_id=server.ids("caches").pop())
            eventually(lambda: not server.ids("caches"), "it is closed")
            server.admin.set("key", "new")
            assert client.get("key") == b"new"
        pool.disconnect()


# Logging in.


class Provider(CredentialProvider):
    """Gives credentials, or raises what is no RedisError, or waits to be cancelled."""

    def __init__(self) -> None:
        self.fails = False
        self.waits = False
        self.is_waiting = False

    def get_credentials(self) -> tuple[str, str]:
        if self.fails:
            raise OwnError
        return "w", "secret"

    async def get_credentials_async(self) -> tuple[str, str]:
        if self.waits:
            self.is_waiting = True
            await asyncio.sleep(60)
        return self.get_credentials()


@pytest.fixture
def login(server: Server) -> Provider:
    server.admin.acl_setuser("w", enabled=True, passwords=["+secret"], keys="*", commands=["+@all"])
    return Provider()


@pytest.mark.parametrize("cls", [connage.ConnectionPool, connage.BlockingConnectionPool])
@pytest.mark.parametrize("protocol", [2, 3])
def test_a_provider_that_fails_leaves_no_connection_that_has_not_logged_in(
    server: Server, login: Provider, protocol: int, cls: Any
) -> None:
    pool = cls(port=server.port, protocol=protocol, credential_provider=login, max_connections=1)
    client: Any = redis.Redis(connection_pool=pool)
    for retires in (False, True):
        login.fails = True
        if retires:
            connection = take(pool)
            connection.connage_retire()
            pool.release(connection)
        with pytest.raises(OwnError):
            client.acl_whoami()
        login.fails = False
        assert client.acl_whoami() in ("w", b"w")
    pool.disconnect()


@pytest.mark.parametrize(
    "how",
    ["fails", "waits"] if hasattr(CredentialProvider, "get_credentials_async") else ["fails"],
)
@pytest.mark.parametrize("protocol", [2, 3])
async def test_a_provider_of_asyncio_that_fails_or_is_cancelled_leaves_no_such_connection(
    server: Server, login: Provider, protocol: int, how: str
) -> None:
    pool: Any = connage.asyncio.ConnectionPool(
        port=server.port, protocol=protocol, credential_provider=login, max_connections=1
    )
    client: Any = redis.asyncio.Redis(connection_pool=pool)
    for retires in (False, True):
        setattr(login, how, True)
        login.is_waiting = False
        if retires:
            connection = await take(pool)
            await connection.connage_retire()
            await pool.release(connection)
        task = asyncio.create_task(client.acl_whoami())
        if how == "waits":
            await until(lambda: login.is_waiting, "it is asked")
            task.cancel()
        with pytest.raises((OwnError, asyncio.CancelledError)):
            await task
        setattr(login, how, False)
        assert await client.acl_whoami() in ("w", b"w")
    await pool.disconnect()


def test_a_connect_func_that_fails_leaves_it_closed(server: Server) -> None:
    def fails(_: Any) -> None:
        raise OwnError

    connection: Any = connage.Connection(port=server.port, redis_connect_func=fails)
    for _ in range(2):
        with pytest.raises(OwnError):
            connection.connect()
        assert not connection.connage_life.is_open


# Others close it.


def test_a_disconnect_meanwhile_by_another_thread_is_nobodys_failure(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool: Any = connage.ConnectionPool(port=server.port, maxage_refresh=0)
    client: Any = redis.Redis(connection_pool=pool)
    client.ping()
    read = redis.Connection.read_response
    closed: list[Any] = []

    def meanwhile(connection: Any, *args: Any, **kwargs: Any) -> Any:
        reply = read(connection, *args, **kwargs)
        if not closed:
            closed.append(connection)
            pool.disconnect()
        return reply

    monkeypatch.setattr(redis.Connection, "read_response", meanwhile)
    assert client.ping()
    assert closed
    pool.disconnect()


async def test_a_disconnect_meanwhile_by_another_task_is_nobodys_failure(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool: Any = connage.asyncio.ConnectionPool(port=server.port, maxage_refresh=0)
    client: Any = redis.asyncio.Redis(connection_pool=pool)
    await client.ping()
    read = redis.asyncio.Connection.read_response
    closed: list[Any] = []

    async def meanwhile(connection: Any, *args: Any, **kwargs: Any) -> Any:
        reply = await read(connection, *args, **kwargs)
        if not closed:
            closed.append(connection)
            await pool.disconnect()
        return reply

    monkeypatch.setattr(redis.asyncio.Connection, "read_response", meanwhile)
    assert await client.ping()
    assert closed
    await pool.disconnect()


@pytest.mark.parametrize("cls", [connage.ConnectionPool, connage.BlockingConnectionPool])
def test_idle_connections_retire_also_where_the_margin_is_above_the_limit(
    server: Server, cls: Any
) -> None:
    pool = cls(port=server.port, maxage=2000, maxage_jitter=0, maxage_margin="60s")
    for connection in [take(pool) for _ in range(5)]:
        pool.release(connection)
    client: Any = redis.Redis(connection_pool=pool)
    # The one in use is opened anew each time, the others are not.
    eventually(lambda: client.ping() and pool.connage_stats().open_connections == 1, "all retired")
    pool.disconnect()


async def test_idle_connections_of_asyncio_retire_also_where_the_margin_is_above_the_limit(
    server: Server,
) -> None:
    pool: Any = connage.asyncio.ConnectionPool(
        port=server.port, maxage=2000, maxage_jitter=0, maxage_margin="60s"
    )
    for connection in [await take(pool) for _ in range(5)]:
        await pool.release(connection)
    client: Any = redis.asyncio.Redis(connection_pool=pool)
    end = time.monotonic() + 10
    while pool.connage_stats().open_connections > 1:
        assert await client.ping() and time.monotonic() < end
    await pool.disconnect()
