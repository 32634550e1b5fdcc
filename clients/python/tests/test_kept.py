"""Where no new connection can be made, the old one is used on: no error, and no reply of another."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import re
import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio
import redis.connection
from redis.credentials import CredentialProvider
from servers import Server, eventually, running, take, until

import connage

SYNC_POOLS = [connage.ConnectionPool, connage.BlockingConnectionPool]
ASYNC_POOLS = [connage.asyncio.ConnectionPool, connage.asyncio.BlockingConnectionPool]


class OwnError(Exception):
    pass


@contextlib.contextmanager
def full(server: Server) -> Iterator[None]:
    """It takes no more clients, until the end of this."""
    before = server.admin.config_get("maxclients")["maxclients"]
    gc.collect()  # Nothing is to make room later.
    server.admin.config_set("maxclients", int(server.admin.info("clients")["connected_clients"]))
    others: list[socket.socket] = []

    def refuses_another() -> bool:
        other = socket.create_connection(("127.0.0.1", server.port))
        others.append(other)
        other.sendall(b"PING\r\n")
        return other.recv(100).startswith(b"-ERR max number of clients")

    try:
        # Twice: what had gone when it refused the first is gone by the second.
        eventually(lambda: refuses_another() and refuses_another(), "the server is full")
        yield
    finally:
        for other in others:
            other.close()
        server.admin.config_set("maxclients", before)


@contextlib.contextmanager
def out_of_reach(server: Server) -> Iterator[None]:
    """What is connected by its unix socket stays so; nobody else can connect by it."""
    path = Path(server.socket_path)
    hidden = path.with_suffix(".hidden")
    path.rename(hidden)
    try:
        yield
    finally:
        hidden.rename(path)


OUTAGES = [full, out_of_reach]


def where(server: Server, outage: Any) -> dict[str, Any]:
    if outage is full:
        return {"port": server.port}
    return {"path": server.socket_path}


def made(module: Any, cls: Any, server: Server, outage: Any, **settings: Any) -> Any:
    if outage is out_of_reach:
        settings["connection_class"] = module.UnixDomainSocketConnection
    return cls(**where(server, outage), retry=None, **settings)


def no_pause(pool: Any) -> None:
    """As if it were time to try again."""
    pool._connage_counters._paused.clear()


@pytest.mark.parametrize("cls", SYNC_POOLS)
@pytest.mark.parametrize("outage", OUTAGES)
@pytest.mark.parametrize("protocol", [2, 3])
def test_a_connection_at_its_end_is_used_on_while_no_new_one_can_be_made(
    server: Server, cls: Any, outage: Any, protocol: int
) -> None:
    if redis.__version__.startswith("7.") and outage is out_of_reach and protocol == 3:
        pytest.skip("redis-py 7 by itself can't: it wants a host for maintenance notifications")
    told: list[connage.Retired] = []
    pool = made(
        connage, cls, server, outage, protocol=protocol, max_connections=1, on_retired=told.append
    )
    client: Any = redis.Redis(connection_pool=pool)
    first = client.client_id()
    with outage(server):
        pool.retire_all()
        for n in range(20):
            assert client.echo(f"mine {n}") == f"mine {n}".encode()
            assert client.client_id() == first
        assert pool.connage_stats()[:2] == (0, 0)
        assert pool.connage_stats().open_connections == 1
        assert told == []
    eventually(lambda: client.client_id() != first, "it is opened anew soon")
    assert pool.connage_stats()[:2] == (1, 0)
    assert [each.reason for each in told] == ["retire_all"]
    assert client.echo("mine") == b"mine"
    pool.disconnect()


@pytest.mark.parametrize("cls", ASYNC_POOLS)
@pytest.mark.parametrize("outage", OUTAGES)
@pytest.mark.parametrize("protocol", [2, 3])
async def test_a_connection_of_asyncio_at_its_end_is_used_on_while_no_new_one_can_be_made(
    server: Server, cls: Any, outage: Any, protocol: int
) -> None:
    told: list[connage.Retired] = []
    pool = made(
        connage.asyncio,
        cls,
        server,
        outage,
        protocol=protocol,
        max_connections=1,
        on_retired=told.append,
    )
    client: Any = redis.asyncio.Redis(connection_pool=pool)
    first = await client.client_id()
    with outage(server):
        pool.retire_all()
        for n in range(20):
            assert await client.echo(f"mine {n}") == f"mine {n}".encode()
            assert await client.client_id() == first
        assert pool.connage_stats()[:2] == (0, 0)
        assert pool.connage_stats().open_connections == 1
        assert told == []
    end = time.monotonic() + 50
    while await client.client_id() == first:
        assert time.monotonic() < end, "it is opened anew soon"
        await asyncio.sleep(0.01)
    assert pool.connage_stats()[:2] == (1, 0)
    assert [each.reason for each in told] == ["retire_all"]
    assert await client.echo("mine") == b"mine"
    await pool.disconnect()


def test_a_connection_that_waited_long_for_its_first_command_is_used_on_too(server: Server) -> None:
    pool: Any = connage.ConnectionPool(port=server.port, protocol=2, retry=None)
    connection = take(pool)
    born = connection.connage_life.born
    with full(server):
        pool.retire_all()
        connection.send_command("ECHO", "mine")
        assert connection.read_response() == b"mine"
        assert connection.connage_life.born == born
        pool.release(connection)
    pool.disconnect()


@pytest.mark.skipif(not hasattr(redis.connection, "CacheProxyConnection"), reason="no cache yet")
def test_what_a_connection_that_is_used_on_has_cached_is_invalidated_as_before() -> None:
    from redis.cache import CacheConfig

    with running("redis-8.2") as server:
        pool: Any = connage.ConnectionPool(
            port=server.port, protocol=3, cache_config=CacheConfig(), retry=None
        )
        client: Any = redis.Redis(connection_pool=pool)
        server.admin.set("key", "old")
        first = client.client_id()
        assert client.get("key") == b"old"
        with full(server):
            pool.retire_all()
            assert client.client_id() == first
            assert client.get("key") == b"old"
            for n in range(10):
                server.admin.set("key", n)
                server.admin.ping()
                eventually(lambda: client.get("key") == str(n).encode(), "the new value")
            assert client.client_id() == first
        pool.disconnect()


class Silent(socketserver.BaseRequestHandler):
    """Who accepts, and never answers."""

    seconds = float("inf")

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            while data := self.request.recv(65536):
                if self.seconds < 60:
                    time.sleep(self.seconds)
                    self.request.sendall(b"+OK\r\n" * len(re.findall(rb"\*\d+\r\n", data)))


class Slow(Silent):
    """Who takes less than a whole attempt for each answer, and more for two."""

    seconds = 1.5


class Peer(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True


@contextlib.contextmanager
def answered_by(server: Server, peer: type[Silent]) -> Iterator[None]:
    """Who connects by the server's unix socket gets to that one instead."""
    with out_of_reach(server):
        with Peer(server.socket_path, peer) as listening:
            threading.Thread(target=listening.serve_forever, args=(0.01,), daemon=True).start()
            try:
                yield
            finally:
                listening.shutdown()
        Path(server.socket_path).unlink()


@pytest.mark.parametrize("peer", [Silent, Slow])
def test_an_attempt_ends_also_where_the_handshake_has_no_end(
    server: Server, peer: type[Silent]
) -> None:
    settings = {"protocol": 2, "socket_timeout": None, "client_name": "waits", "db": 3}
    pool = made(connage, connage.ConnectionPool, server, out_of_reach, **settings)
    client: Any = redis.Redis(connection_pool=pool)
    first = client.client_id()
    with answered_by(server, peer):
        pool.retire_all()
        assert client.client_id() == first
    no_pause(pool)
    connection = take(pool)
    eventually(lambda: server.ids("waits") - {str(first)}, "it is opened anew")
    for _ in range(2):
        assert connection._sock.gettimeout() is connection.socket_timeout is None
        assert not connection.can_read()
    pool.release(connection)
    pool.disconnect()


@pytest.mark.parametrize("peer", [Silent, Slow])
async def test_an_attempt_of_asyncio_ends_also_where_the_handshake_has_no_end(
    server: Server, peer: type[Silent]
) -> None:
    settings = {"protocol": 2, "socket_timeout": None, "client_name": "waits-too", "db": 3}
    cls = connage.asyncio.ConnectionPool
    pool = made(connage.asyncio, cls, server, out_of_reach, **settings)
    client: Any = redis.asyncio.Redis(connection_pool=pool)
    first = await client.client_id()
    with answered_by(server, peer):
        pool.retire_all()
        assert await client.client_id() == first
    no_pause(pool)
    assert await client.client_id() != first
    await pool.disconnect()


# Idle ones.


def test_idle_connections_are_not_closed_while_no_new_ones_can_be_made(server: Server) -> None:
    pool: Any = connage.ConnectionPool(port=server.port, retry=None)
    connections = [take(pool) for _ in range(5)]
    for connection in connections:
        pool.release(connection)
    client: Any = redis.Redis(connection_pool=pool)
    with full(server):
        pool.retire_all()
        for _ in range(20):
            assert client.ping()
        assert pool.connage_stats().open_connections == 5
    eventually(lambda: client.ping() and pool.connage_stats().retired == 5, "all are retired")
    pool.disconnect()


# At each step on which a new one can fail, the old one has all that it had.


class Steps:
    """A ``redis_connect_func`` that fails before or after redis-py's handshake."""

    def __init__(self, step: str) -> None:
        self.step = step
        self.fails = False

    def __call__(self, connection: Any) -> None:
        self._fail("before")
        connection.on_connect()
        self._fail("after")

    async def aware(self, connection: Any) -> None:
        self._fail("before")
        await connection.on_connect()
        self._fail("after")

    def _fail(self, step: str) -> None:
        if self.fails and step == self.step:
            raise OwnError

    def on_connect(self, _: Any) -> None:
        self._fail("callback")


@pytest.mark.parametrize("step", ["before", "after", "callback"])
@pytest.mark.parametrize("protocol", [2, 3])
def test_whatever_a_new_connection_fails_with_the_old_one_gets_its_own_replies(
    server: Server, protocol: int, step: str
) -> None:
    steps = Steps(step)
    pool: Any = connage.ConnectionPool(
        port=server.port, protocol=protocol, db=3, client_name="kept", redis_connect_func=steps
    )
    connection = take(pool)
    connection.register_connect_callback(steps.on_connect)
    pool.release(connection)
    client: Any = redis.Redis(connection_pool=pool)
    client.set("in 3", 1)
    first = client.client_id()
    for _ in range(2):
        steps.fails = True
        pool.retire_all()
        no_pause(pool)
        assert client.client_id() == first
        assert client.get("in 3") == b"1"
        assert client.pipeline().echo("mine").get("in 3").execute() == [b"mine", b"1"]
        steps.fails = False
    eventually(lambda: len(server.ids("kept")) == 1, "what was opened in vain is closed")
    no_pause(pool)
    assert client.client_id() != first
    eventually(lambda: len(server.ids("kept")) == 1, "the old one is closed")
    pool.disconnect()


@pytest.mark.parametrize("step", ["before", "after", "callback"])
@pytest.mark.parametrize("protocol", [2, 3])
async def test_whatever_a_new_connection_of_asyncio_fails_with_the_old_one_gets_its_own_replies(
    server: Server, protocol: int, step: str
) -> None:
    steps = Steps(step)
    pool: Any = connage.asyncio.ConnectionPool(
        port=server.port,
        protocol=protocol,
        db=3,
        client_name="kept-too",
        redis_connect_func=steps.aware,
    )
    connection = await take(pool)
    connection.register_connect_callback(steps.on_connect)
    await pool.release(connection)
    client: Any = redis.asyncio.Redis(connection_pool=pool)
    await client.set("in 3", 1)
    first = await client.client_id()
    for _ in range(2):
        steps.fails = True
        pool.retire_all()
        no_pause(pool)
        assert await client.client_id() == first
        assert await client.get("in 3") == b"1"
        assert await client.pipeline().echo("mine").get("in 3").execute() == [b"mine", b"1"]
        steps.fails = False
    await until(lambda: len(server.ids("kept-too")) == 1, "what was opened in vain is closed")
    no_pause(pool)
    assert await client.client_id() != first
    await until(lambda: len(server.ids("kept-too")) == 1, "the old one is closed")
    await pool.disconnect()


async def test_a_cancellation_while_a_new_one_is_opened_leaves_the_old_one_as_it_was(
    server: Server,
) -> None:
    waits, waiting = asyncio.Event(), asyncio.Event()

    async def stops(connection: Any) -> None:
        await connection.on_connect()
        if waits.is_set():
            waiting.set()
            await asyncio.sleep(60)

    pool: Any = connage.asyncio.ConnectionPool(
        port=server.port, redis_connect_func=stops, client_name="cancelled", max_connections=1
    )
    client: Any = redis.asyncio.Redis(connection_pool=pool)
    first = await client.client_id()
    waits.set()
    pool.retire_all()
    task = asyncio.create_task(client.echo("of another"))
    # Not while it sends: before Python 3.12 asyncio.wait_for, by which redis-py does, may swallow
    # a cancellation.
    await waiting.wait()
    assert len(server.ids("cancelled")) == 2, "a new one is opened"
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    waits.clear()
    assert await client.echo("mine") == b"mine"
    assert await client.client_id() != first, "tried again, and not in vain"
    await until(lambda: len(server.ids("cancelled")) == 1, "the others are closed")
    await pool.disconnect()


# What is not kept.


@pytest.mark.parametrize("cls", SYNC_POOLS)
def test_what_another_thread_disconnects_while_no_new_one_can_be_made_is_not_kept(
    server: Server, cls: Any
) -> None:
    fails = threading.Event()

    def disconnected_meanwhile(connection: Any) -> None:
        if fails.is_set():
            fails.clear()
            other = threading.Thread(target=pool.disconnect)
            other.start()
            other.join()
            raise OwnError
        connection.on_connect()

    pool: Any = cls(
        port=server.port, redis_connect_func=disconnected_meanwhile, client_name="ended"
    )
    client: Any = redis.Redis(connection_pool=pool)
    first = client.client_id()
    fails.set()
    pool.retire_all()
    second = client.client_id()
    assert second != first
    eventually(lambda: server.ids("ended") == {str(second)}, "the old one is closed")
    assert pool.connage_stats()[:2] == (0, 0)
    assert pool.connage_stats().open_connections == 1
    pool.disconnect()


@pytest.mark.parametrize("cls", ASYNC_POOLS)
async def test_what_another_task_disconnects_while_no_new_one_can_be_made_is_not_kept(
    server: Server, cls: Any
) -> None:
    fails = threading.Event()

    async def disconnected_meanwhile(connection: Any) -> None:
        if fails.is_set():
            fails.clear()
            await asyncio.create_task(pool.disconnect())
            raise OwnError
        await connection.on_connect()

    pool: Any = cls(
        port=server.port, redis_connect_func=disconnected_meanwhile, client_name="ended-too"
    )
    client: Any = redis.asyncio.Redis(connection_pool=pool)
    first = await client.client_id()
    fails.set()
    pool.retire_all()
    second = await client.client_id()
    assert second != first
    await until(lambda: server.ids("ended-too") == {str(second)}, "the old one is closed")
    assert pool.connage_stats()[:2] == (0, 0)
    assert pool.connage_stats().open_connections == 1
    await pool.disconnect()


def test_with_a_reply_unread_it_is_not_kept(server: Server) -> None:
    pool: Any = connage.ConnectionPool(port=server.port, retry=None, max_connections=1)
    client: Any = redis.Redis(connection_pool=pool)
    with_unread = take(pool)
    with full(server):
        with_unread.send_command("ECHO", "of another")
        assert with_unread.can_read(timeout=10)
        born = with_unread.connage_life.born
        pool.retire_all()
        pool.release(with_unread)

        def own() -> bool:
            try:
                return bool(client.echo("mine") == b"mine")
            except redis.ConnectionError:
                return False  # Its place in the server is not free at once.

        eventually(own, "it has a connection again")
        assert with_unread.connage_life.born != born
    pool.disconnect()


class Provider(CredentialProvider):
    def __init__(self) -> None:
        self.password = "secret"
        self.error: Exception | None = None

    def get_credentials(self) -> tuple[str, str]:
        if self.error:
            raise self.error
        return "w", self.password


@pytest.mark.parametrize("protocol", [2, 3])
def test_who_may_log_in_no_more_is_told_so_and_not_kept(server: Server, protocol: int) -> None:
    server.admin.acl_setuser("w", enabled=True, passwords=["+secret"], keys="*", commands=["+@all"])
    provider = Provider()
    pool: Any = connage.ConnectionPool(
        port=server.port, protocol=protocol, credential_provider=provider, client_name="w"
    )
    client: Any = redis.Redis(connection_pool=pool)
    assert client.acl_whoami() in ("w", b"w")
    provider.error = OwnError()
    pool.retire_all()
    assert client.acl_whoami() in ("w", b"w"), "as long as only its provider fails"
    provider.error, provider.password = None, "wrong"
    no_pause(pool)
    with pytest.raises((redis.AuthenticationError, redis.ResponseError)):
        client.acl_whoami()
    eventually(lambda: not server.ids("w"), "it is closed")
    pool.disconnect()


async def test_who_may_log_in_no_more_is_told_so_by_asyncio_and_not_kept(server: Server) -> None:
    server.admin.acl_setuser("w", enabled=True, passwords=["+secret"], keys="*", commands=["+@all"])
    provider = Provider()
    pool: Any = connage.asyncio.ConnectionPool(
        port=server.port, credential_provider=provider, client_name="w"
    )
    client: Any = redis.asyncio.Redis(connection_pool=pool)
    assert await client.acl_whoami() in ("w", b"w")
    provider.error = OwnError()
    pool.retire_all()
    assert await client.acl_whoami() in ("w", b"w")
    provider.error, provider.password = None, "wrong"
    no_pause(pool)
    with pytest.raises((redis.AuthenticationError, redis.ResponseError)):
        await client.acl_whoami()
    await until(lambda: not server.ids("w"), "it is closed")
    await pool.disconnect()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_does_not_shut_its_parents_socket(server: Server) -> None:
    connection: Any = connage.Connection(port=server.port, protocol=2)
    connection.connect()
    connection.connage_counters.retire_all()
    child = os.fork()
    if child == 0:
        try:
            connection.connect()
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    connection.send_command("ECHO", "mine")
    assert connection.read_response() == b"mine"
    connection.disconnect()
