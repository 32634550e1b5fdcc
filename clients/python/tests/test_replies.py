"""No command ever gets a reply that belongs to another, whatever the application does."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import Any

import pytest
import redis
import redis.asyncio
from servers import Server, eventually, take

import connage


class OwnError(Exception):
    pass


def raising(*_: Any, **__: Any) -> Any:
    raise OwnError


def with_raising_callback(client: Any) -> Any:
    client.set_response_callback("INCR", raising)
    return client


# Falsy ones as well: redis-py 5 takes those for nothing when it looks for unread replies. (Where
# we don't ask, redis-py is by itself, and some versions of it do confuse these.)
LEFT_UNREAD = [
    [("INCR", "n"), ("ECHO", "of another"), ("ECHO", "of another")],
    [("INCR", "n"), ("EXISTS", "nothing"), ("EXISTS", "nothing"), ("EXISTS", "nothing")],
    [("INCR", "n"), ("GET", "nothing"), ("GET", "nothing"), ("CONNAGE.SELF",)],
]


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("commands", LEFT_UNREAD)
def test_after_a_raising_callback_commands_get_their_own_replies(
    server: Server, protocol: int, commands: list[tuple[str, ...]]
) -> None:
    pool: Any = connage.ConnectionPool(
        port=server.port, protocol=protocol, maxage_refresh=0, max_connections=1
    )
    client = with_raising_callback(redis.Redis(connection_pool=pool))
    for n in range(10):
        pipeline: Any = client.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        with pytest.raises(OwnError):
            pipeline.execute()
        assert client.echo(f"mine {n}") == f"mine {n}".encode()
    pool.disconnect()


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("commands", LEFT_UNREAD)
async def test_after_a_raising_callback_commands_of_asyncio_get_their_own_replies(
    server: Server, protocol: int, commands: list[tuple[str, ...]]
) -> None:
    pool: Any = connage.asyncio.ConnectionPool(
        port=server.port, protocol=protocol, maxage_refresh=0, max_connections=1
    )
    client = with_raising_callback(redis.asyncio.Redis(connection_pool=pool))
    for n in range(10):
        pipeline: Any = client.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        with pytest.raises(OwnError):
            await pipeline.execute()
        assert await client.echo(f"mine {n}") == f"mine {n}".encode()
    await pool.disconnect()


@pytest.mark.parametrize("protocol", [2, 3])
def test_a_pool_that_expects_maintenance_notifications_hands_out_no_unread_reply_either(
    server: Server, protocol: int
) -> None:
    # redis-py 8 expects them by default with RESP3, and does not look then.
    pool: Any = connage.ConnectionPool(port=server.port, protocol=protocol, max_connections=1)
    client = with_raising_callback(redis.Redis(connection_pool=pool))
    for n in range(10):
        left: Any = client.pipeline(transaction=False)
        left.execute_command("INCR", "n").echo("of another")
        with pytest.raises(OwnError):
            left.execute()
        eventually(lambda: pool_sees_it(pool), "the reply is there")
        assert client.echo(f"mine {n}") == f"mine {n}".encode()
    pool.disconnect()


def pool_sees_it(pool: Any) -> bool:
    """Whether the reply that was left has arrived: before that nobody can see it."""
    made = pool._connage_made[0]
    return not made.connage_life.is_open or bool(made.can_read())


@pytest.mark.parametrize("protocol", [2, 3])
async def test_a_pool_of_asyncio_that_expects_these_hands_out_no_unread_reply_either(
    server: Server, protocol: int
) -> None:
    pool: Any = connage.asyncio.ConnectionPool(
        port=server.port, protocol=protocol, max_connections=1
    )
    client = with_raising_callback(redis.asyncio.Redis(connection_pool=pool))
    for n in range(10):
        left: Any = client.pipeline(transaction=False)
        left.execute_command("INCR", "n").echo("of another")
        with pytest.raises(OwnError):
            await left.execute()
        assert await client.echo(f"mine {n}") == f"mine {n}".encode()
    await pool.disconnect()


def test_a_reply_that_comes_while_it_asks_again_is_not_taken_for_the_answer(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool: Any = connage.ConnectionPool(port=server.port, maxage_refresh=0)
    connection = take(pool)
    connection.send_command("ECHO", "nobody reads this")
    monkeypatch.setattr(redis.Connection, "can_read", lambda *_, **__: False)
    pool.release(connection)
    client: Any = redis.Redis(connection_pool=pool)
    assert client.echo("mine") == b"mine"
    pool.disconnect()


async def test_a_reply_that_comes_while_it_asks_again_with_asyncio_is_not_taken_for_the_answer(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def sees_nothing(*_: Any) -> bool:
        return False

    pool: Any = connage.asyncio.ConnectionPool(port=server.port, maxage_refresh=0)
    connection = await take(pool)
    await connection.send_command("ECHO", "nobody reads this")
    name = "can_read" if hasattr(connection, "can_read") else "can_read_destructive"
    monkeypatch.setattr(redis.asyncio.Connection, name, sees_nothing)
    await pool.release(connection)
    client: Any = redis.asyncio.Redis(connection_pool=pool)
    assert await client.echo("mine") == b"mine"
    await pool.disconnect()


# At whatever step it is stopped.


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize(("retires", "refresh"), [(False, "1h"), (False, 0), (True, "1h")])
async def test_a_task_that_is_cancelled_at_any_step_leaves_nothing_to_others(
    server: Server, protocol: int, retires: bool, refresh: Any
) -> None:
    server.admin.acl_setuser("w", enabled=True, nopass=True, keys="*", commands=["+@all"])
    pool: Any = connage.asyncio.ConnectionPool(
        port=server.port,
        protocol=protocol,
        username="w",
        password="any",
        db=1,
        maxage_refresh=refresh,
        max_connections=1,
    )
    client: Any = redis.asyncio.Redis(connection_pool=pool)
    for steps in range(200):
        if retires:
            pool.retire_all()
        task = asyncio.create_task(client.pipeline().echo("of another").incr("n").execute())
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        assert await client.echo(f"mine {steps}") == f"mine {steps}".encode()
        assert await client.acl_whoami() in ("w", b"w")
    await pool.disconnect()


def test_a_monitor_is_not_cut_at_its_limit_and_leaves_nothing_to_others(server: Server) -> None:
    pool: Any = connage.ConnectionPool(
        port=server.port, max_connections=1, maxage_refresh=0, protocol=2
    )
    client: Any = redis.Redis(connection_pool=pool)
    with client.monitor() as monitor:
        pool.retire_all()
        server.admin.echo("seen")
        assert any("seen" in monitor.next_command()["command"] for _ in range(100))
        server.admin.echo("nobody reads this")
    for n in range(10):
        assert client.echo(f"mine {n}") == f"mine {n}".encode()
    pool.disconnect()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_takes_no_reply_of_its_parents(server: Server) -> None:
    pool: Any = connage.ConnectionPool(port=server.port, maxage_refresh=0, max_connections=2)
    client: Any = redis.Redis(connection_pool=pool)
    client.ping()
    in_use = take(pool)
    in_use.send_command("ECHO", "the parent's")
    pool.retire_all()
    child = os.fork()
    if child == 0:
        try:
            own = [client.echo(f"the child's {n}") for n in range(20)]
            os._exit(own != [f"the child's {n}".encode() for n in range(20)])
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    assert in_use.read_response() in (b"the parent's", "the parent's")
    pool.release(in_use)
    assert client.echo("mine") == b"mine"
    pool.disconnect()


# A login of its own, with a token that its credential provider has renewed.


class Token:
    def try_get(self, _: str) -> str:
        return "w"

    def get_value(self) -> str:
        return "any"


renews = pytest.mark.skipif(
    not hasattr(redis.asyncio.Connection, "re_auth"), reason="this redis-py renews no tokens"
)


@renews
@pytest.mark.parametrize(
    "cls", [connage.asyncio.ConnectionPool, connage.asyncio.BlockingConnectionPool]
)
async def test_a_connection_of_asyncio_logs_in_again_before_others_can_use_it(
    server: Server, cls: Any
) -> None:
    server.admin.acl_setuser("w", enabled=True, nopass=True, keys="*", commands=["+@all"])
    pool = cls(port=server.port, max_connections=1)
    client: Any = redis.asyncio.Redis(connection_pool=pool)
    for n in range(10):
        connection = await take(pool)
        connection.set_re_auth_token(Token())
        results: Any = await asyncio.gather(
            pool.release(connection), in_turn(client, pool), return_exceptions=True
        )
        assert results == [None, b"mine"]
        assert await client.acl_whoami() in ("w", b"w")
    assert pool.connage_stats().retired == 0
    await pool.disconnect()


async def in_turn(client: Any, pool: Any) -> Any:
    """What it reads as soon as there is a connection for it."""
    while True:
        try:
            return await client.echo("mine")
        except redis.ConnectionError as error:
            if "Too many" not in str(error):
                raise
            await asyncio.sleep(0)


@renews
async def test_a_connection_of_asyncio_that_cannot_log_in_again_is_closed(server: Server) -> None:
    server.admin.acl_setuser("w", enabled=True, passwords=["+other"])
    pool: Any = connage.asyncio.ConnectionPool(port=server.port, max_connections=1)
    connection = await take(pool)
    connection.set_re_auth_token(Token())
    await pool.release(connection)
    assert not connection.connage_life.is_open
    client: Any = redis.asyncio.Redis(connection_pool=pool)
    assert await client.echo("mine") == b"mine"
    await pool.disconnect()


async def test_an_idle_connection_of_asyncio_that_logs_in_again_is_not_closed_meanwhile(
    server: Server,
) -> None:
    pool: Any = connage.asyncio.ConnectionPool(port=server.port, protocol=2)
    first, second = await take(pool), await take(pool)
    await pool.release(first)
    await pool.release(second)
    # As redis-py does with all that are idle.
    await first.send_command("AUTH", "default", "any")
    pool.retire_all()
    pool._next_look = 0.0
    await pool.release(await take(pool))
    assert pool.connage_stats().retired == 1, "the other one"
    assert await first.read_response() in (b"OK", "OK")
    await pool.disconnect()


# It asks again after a refusal, and believes it.


@pytest.mark.parametrize(
    "order", [("+connage.self", "-connage.self"), ("-connage.self", "+connage.self")]
)
def test_after_a_refusal_it_asks_again_and_a_limit_refused_is_a_limit_no_more(
    server: Server, order: tuple[str, str]
) -> None:
    server.configure(maxage="100s")
    found = []
    pool: Any = connage.ConnectionPool(
        port=server.port, username="w", password="x", maxage="1h", maxage_jitter=0, maxage_refresh=0
    )
    for right in order:
        server.admin.acl_setuser(
            "w", enabled=True, nopass=True, keys="*", commands=["+@all", right]
        )
        connection = take(pool)
        pool.release(connection)
        found.append((connection.connage_life.told_by_server, connection.connage_life.limit_ms))
    known, unknown = (True, 100_000), (False, 3_600_000)
    assert found == ([known, unknown] if order[0].startswith("+") else [unknown, known])
    assert pool.connage_stats()[:2] == (0, 0), "on one connection"
    pool.disconnect()


async def test_after_a_refusal_asyncio_asks_again(server: Server) -> None:
    server.configure(maxage="100s")
    found = []
    pool: Any = connage.asyncio.ConnectionPool(
        port=server.port, username="w", password="x", maxage="1h", maxage_jitter=0, maxage_refresh=0
    )
    for right in ("-connage.self", "+connage.self", "-connage.self"):
        server.admin.acl_setuser(
            "w", enabled=True, nopass=True, keys="*", commands=["+@all", right]
        )
        connection = await take(pool)
        await pool.release(connection)
        found.append(connection.connage_life.limit_ms)
    assert found == [3_600_000, 100_000, 3_600_000]
    await pool.disconnect()
