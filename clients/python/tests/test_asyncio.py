from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from servers import Server, row, take, until

import connage


@pytest.fixture
async def pools() -> AsyncIterator[Any]:
    """Makes pools, and closes them."""
    made: list[Any] = []

    def make(server: Server, cls: Any = connage.asyncio.ConnectionPool, **settings: Any) -> Any:
        settings.setdefault("retry", Retry(NoBackoff(), 0))
        made.append(cls(port=server.port, **settings))
        return made[-1]

    yield make
    for pool in made:
        await pool.disconnect()


async def use(pool: Any) -> Any:
    connection = await take(pool)
    await pool.release(connection)
    return connection


async def until_due(connection: Any) -> None:
    await until(connection.connage_life.is_due, "the connection is at its limit")


@pytest.mark.parametrize("decode_responses", [False, True])
@pytest.mark.parametrize("protocol", [2, 3])
async def test_it_learns_the_limit_that_holds(
    server: Server, pools: Any, protocol: int, decode_responses: bool
) -> None:
    server.configure(maxage=100_000)
    pool = pools(server, protocol=protocol, decode_responses=decode_responses, maxage="5m")
    life = (await use(pool)).connage_life
    assert life.told_by_server
    assert life.limit_ms == 100_000


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"lib_name": None, "lib_version": None},
        {"lib_name": None, "lib_version": None, "client_name": "only-name"},
        {"db": 2, "client_name": "all"},
        {"health_check_interval": 1, "db": 2},
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_however_the_handshake_goes_commands_get_their_own_replies(
    server: Server, pools: Any, settings: dict[str, Any]
) -> None:
    pool = pools(server, maxage="1m", maxage_jitter=0, **settings)
    assert (await use(pool)).connage_life.limit_ms == 60_000
    client: Any = redis.asyncio.Redis(connection_pool=pool)
    assert await client.echo("mine") == b"mine"


@pytest.mark.parametrize("is_async", [True, False])
async def test_a_connect_func_of_ones_own_is_called_and_the_server_told_after_it(
    server: Server, pools: Any, is_async: bool
) -> None:
    called: list[Any] = []

    def plain(connection: Any) -> None:
        called.append(connection)
        connection._parser.on_connect(connection)

    async def awaited(connection: Any) -> None:
        plain(connection)

    func = awaited if is_async else plain
    connection = await use(pools(server, redis_connect_func=func, maxage="1m", protocol=2))
    assert called == [connection]
    assert connection.connage_life.told_by_server


@pytest.mark.parametrize("kind", ["own", "blocking", "redis-py", "redis-py-blocking"])
@pytest.mark.parametrize("has_module", [True, False])
async def test_a_connection_at_its_limit_is_opened_anew_before_it_is_handed_out(
    server: Server, bare: Server, pools: Any, has_module: bool, kind: str
) -> None:
    settings: dict[str, Any] = {"maxage": "20s", "maxage_jitter": 0, "maxage_margin": "19s"}
    if kind.startswith("redis-py"):
        settings["connection_class"] = connage.asyncio.Connection
    module: Any = redis.asyncio if kind.startswith("redis-py") else connage.asyncio
    cls = module.BlockingConnectionPool if "blocking" in kind else module.ConnectionPool
    pool = pools(server if has_module else bare, cls, **settings)
    client: Any = redis.asyncio.Redis(connection_pool=pool)
    first = await client.client_id()
    assert await client.client_id() == first
    await until_due(await use(pool))
    assert await client.client_id() != first
    if not kind.startswith("redis-py"):
        assert pool.connage_stats()[:2] == (1, 0)
    assert server.evicted == 0


async def test_a_limit_that_the_server_lowers_arrives_at_the_next_hand_out(
    server: Server, pools: Any
) -> None:
    pool = pools(server, maxage="1h", maxage_jitter=0, maxage_refresh=0)
    before = (await use(pool)).connage_life.limit_ms
    server.configure(maxage="100s")
    assert (before, (await use(pool)).connage_life.limit_ms) == (3_600_000, 100_000)


async def test_a_transaction_is_not_cut_at_its_limit(bare: Server, pools: Any) -> None:
    pool = pools(bare, maxage=400, maxage_jitter=0)
    client: Any = redis.asyncio.Redis(connection_pool=pool)
    async with client.pipeline() as pipeline:
        await pipeline.watch("watched")
        await until_due(pipeline.connection)
        pipeline.multi()
        pipeline.set("watched", 1)
        assert await pipeline.execute() == [True]
    assert pool.connage_stats().retired == 0


async def test_a_subscription_is_not_cut_at_its_limit(bare: Server, pools: Any) -> None:
    pool = pools(bare, maxage=400, maxage_jitter=0, client_name="async-subscriber")
    client: Any = redis.asyncio.Redis(connection_pool=pool)
    subscriber = client.pubsub(ignore_subscribe_messages=True)
    await subscriber.subscribe("channel")
    await subscriber.get_message(timeout=1)
    before = bare.ids("async-subscriber")
    await until_due(subscriber.connection)
    await subscriber.connect()
    bare.admin.publish("channel", "still there")
    message = await subscriber.get_message(timeout=5)
    assert message["data"] == b"still there"
    assert bare.ids("async-subscriber") == before
    await subscriber.unsubscribe()
    await getattr(subscriber, "aclose", subscriber.close)()


async def test_what_the_server_evicted_by_a_lowered_limit_is_counted_and_nobody_notices(
    server: Server, pools: Any
) -> None:
    pool = pools(server, client_name="overtaken")
    client: Any = redis.asyncio.Redis(connection_pool=pool)
    await client.ping()
    connection = await use(pool)
    life = connection.connage_life
    await until(lambda: life.age_ms() > 210, "it is older than the limit will be")
    server.configure(maxage=200)
    await until(lambda: connection._reader.at_eof(), "the server has evicted it")
    assert await client.ping()
    assert pool.connage_stats()[:2] == (0, 1)


async def test_a_unix_socket_connection_retires(server: Server) -> None:
    pool = connage.asyncio.ConnectionPool.from_url(f"unix://{server.socket_path}?maxage=250")
    client: Any = redis.asyncio.Redis(connection_pool=pool)
    first = await client.client_id()
    await until_due(await use(pool))
    assert await client.client_id() != first
    await pool.disconnect()


async def test_50_tasks_go_through_500_retirements_without_a_scratch(
    server: Server, pools: Any
) -> None:
    server.configure(maxage="10s", jitter=50)
    # Shares its machine with others: a wide margin, so that no pause can outlast it.
    pool = pools(server, max_connections=50, maxage=5000, maxage_margin=4500)
    client: Any = redis.asyncio.Redis(connection_pool=pool)
    commands = 0

    async def work(key: str) -> None:
        nonlocal commands
        done = 0
        while pool.connage_stats().retired < 500:
            assert await client.incr(key) == done + 1
            pipeline = client.pipeline(transaction=done % 2 == 0)
            assert await pipeline.incr(key).incr(key).execute() == [done + 2, done + 3]
            done += 3
            commands += 3

    tasks = [asyncio.create_task(work(f"count-{n}")) for n in range(50)]
    await asyncio.wait_for(asyncio.gather(*tasks), 50)
    evicted = server.evicted
    print(f"\n{commands} commands, {pool.connage_stats()}")
    assert (pool.connage_stats().evicted, evicted) == (0, 0)
    assert row(await client.execute_command("CONNAGE.SELF"))[b"limit-ms"] <= 5000
