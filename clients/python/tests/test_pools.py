"""What an application does with its pools, and where the edges are."""

from __future__ import annotations

import asyncio
import inspect
import pickle
import random
import subprocess
import sys
import time
import warnings
from typing import Any

import pytest
import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.retry import Retry
from servers import Server, eventually, take

import connage
from connage._lifetime import Policy
from connage._private import PRIVATE

SYNC_POOLS = [connage.ConnectionPool, connage.BlockingConnectionPool]
ASYNC_POOLS = [connage.asyncio.ConnectionPool, connage.asyncio.BlockingConnectionPool]


def use(pool: Any) -> Any:
    connection = take(pool)
    pool.release(connection)
    return connection


async def use_async(pool: Any) -> Any:
    connection = await take(pool)
    await pool.release(connection)
    return connection


# Other ways to have threads.

GREENLETS = """
from gevent import monkey
monkey.patch_all()
import gevent, redis, sys, connage
pool = connage.BlockingConnectionPool(
    port=int(sys.argv[1]), max_connections=5, maxage="2s", maxage_margin="1900ms", maxage_jitter=0
)
client = redis.Redis(connection_pool=pool)
def work(key):
    done = 0
    while pool.connage_stats().retired < 20:
        done += 1
        assert client.incr(key) == done
jobs = [gevent.spawn(work, f"greenlet-{n}") for n in range(10)]
gevent.joinall(jobs, raise_error=True)
"""


def test_a_blocking_pool_works_with_gevent(server: Server) -> None:
    pytest.importorskip("gevent")
    command = [sys.executable, "-c", GREENLETS, str(server.port)]
    subprocess.run(command, check=True, timeout=180)


@pytest.mark.parametrize("cls", SYNC_POOLS)
@pytest.mark.parametrize("number", [5])
def test_idle_connections_retire_whatever_queue_they_are_in(
    server: Server, cls: Any, number: int
) -> None:
    pool = cls(port=server.port, maxage="1s", maxage_jitter=0, maxage_margin="900ms")
    for connection in [take(pool) for _ in range(number)]:
        pool.release(connection)
    held = take(pool)
    eventually(lambda: use(pool) and pool.connage_stats().open_connections == 2, "all retired")
    assert held.connage_life.is_open, "in use: not cut"
    pool.release(held)
    pool.disconnect()


# Bad settings.


@pytest.mark.parametrize("cls", [redis.ConnectionPool, redis.BlockingConnectionPool])
def test_a_bad_setting_loses_no_place_in_redis_pys_pools(server: Server, cls: Any) -> None:
    pool = cls(
        connection_class=connage.Connection, port=server.port, maxage="bad", max_connections=2
    )
    for _ in range(5):
        with pytest.raises(ValueError, match="maxage: 'bad'"):
            take(pool)


@pytest.mark.parametrize(
    "cls", [redis.asyncio.ConnectionPool, redis.asyncio.BlockingConnectionPool]
)
async def test_a_bad_setting_loses_no_place_in_redis_pys_asyncio_pools(
    server: Server, cls: Any
) -> None:
    pool = cls(
        connection_class=connage.asyncio.Connection,
        port=server.port,
        maxage="bad",
        max_connections=2,
    )
    for _ in range(5):
        with pytest.raises(ValueError, match="maxage: 'bad'"):
            await take(pool)


@pytest.mark.parametrize("cls", [*SYNC_POOLS, *ASYNC_POOLS])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("maxage", -1),
        ("maxage_jitter", 91),
        ("maxage_margin", "1w"),
        ("maxage_refresh", 0.5),
        ("maxage_tell_server", "perhaps"),
        ("maxidle", "soon"),
        ("on_retired", "call me"),
    ],
)
def test_pools_refuse_a_bad_setting_by_its_name(cls: Any, name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"^{name}: "):
        cls(**{name: value})


@pytest.mark.parametrize("cls", [*SYNC_POOLS, *ASYNC_POOLS])
def test_a_bare_number_below_a_second_is_warned_of(cls: Any) -> None:
    for maxage in (300, "300"):
        with pytest.warns(UserWarning, match="300 milliseconds"):
            cls(maxage=maxage)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for fine in (0, 1000, "300ms", "5m", None):
            cls(maxage=fine)


# Counts, pickles, and the application's own random numbers.


def test_each_class_counts_its_own_connections(server: Server) -> None:
    tcp: Any = connage.Connection(port=server.port)
    unix: Any = connage.UnixDomainSocketConnection(path=server.socket_path)
    before = connage.Connection.connage_stats().open_connections
    tcp.connect()
    unix.connect()
    assert connage.Connection.connage_stats().open_connections == before + 1
    assert connage.SSLConnection.connage_stats().open_connections == 0
    tcp.disconnect()
    unix.disconnect()


def test_the_applications_random_numbers_stay_what_its_seed_says() -> None:
    random.seed(20)
    expected = random.random()
    random.seed(20)
    drawn = {Policy(maxage_ms=1_000_000).draw_ms() for _ in range(20)}
    assert random.random() == expected
    random.seed(20)
    assert {Policy(maxage_ms=1_000_000).draw_ms() for _ in range(20)} != drawn


@pytest.mark.parametrize("cls", [*SYNC_POOLS, *ASYNC_POOLS])
def test_a_pools_arguments_can_be_pickled(cls: Any) -> None:
    pool = cls(maxage="5m")
    plain = redis.ConnectionPool().connection_kwargs  # redis-py 8 has locks in its own
    ours = {name: value for name, value in pool.connection_kwargs.items() if name not in plain}
    copied = pickle.loads(pickle.dumps(ours))
    assert copied["maxage"] == "5m"
    assert copied["maxage_counters"].stats() == pool.connage_stats()


# What holds a connection, and what does not.


def test_connecting_by_hand_in_a_transaction_does_not_cut_it(server: Server) -> None:
    for opens, closes in (("MULTI", "EXEC"), ("WATCH x", "UNWATCH")):
        connection: Any = connage.Connection(port=server.port, maxage="1h", protocol=2)
        connection.connect()
        connection.send_command(*opens.split())
        connection.read_response()
        connection.connage_counters.retire_all()
        life = connection.connage_life.born
        connection.connect()
        assert connection.connage_life.born == life
        connection.send_command(closes)
        connection.read_response()
        connection.connect()
        assert connection.connage_life.born != life
        connection.disconnect()


async def test_connecting_by_hand_in_a_transaction_of_asyncio_does_not_cut_it(
    server: Server,
) -> None:
    connection: Any = connage.asyncio.Connection(port=server.port, maxage="1h", protocol=2)
    await connection.connect()
    await connection.send_command("MULTI")
    await connection.read_response()
    connection.connage_counters.retire_all()
    life = connection.connage_life.born
    await connection.connect()
    assert connection.connage_life.born == life
    await connection.send_command("EXEC")
    await connection.read_response()
    await connection.connect()
    assert connection.connage_life.born != life
    await connection.disconnect()


@pytest.mark.parametrize("cls", SYNC_POOLS)
def test_after_a_transaction_a_connection_retires_again(server: Server, cls: Any) -> None:
    pool = cls(port=server.port)
    client: Any = redis.Redis(connection_pool=pool)
    client.transaction(lambda pipeline: pipeline.multi() or pipeline.set("x", 1), "x")
    pool.retire_all()
    use(pool)
    assert pool.connage_stats().retired == 1
    pool.disconnect()


@pytest.mark.parametrize("cls", ASYNC_POOLS)
async def test_after_a_transaction_a_connection_of_asyncio_retires_again(
    server: Server, cls: Any
) -> None:
    pool = cls(port=server.port)
    client: Any = redis.asyncio.Redis(connection_pool=pool)
    await client.transaction(lambda pipeline: pipeline.multi() or pipeline.set("x", 1), "x")
    pool.retire_all()
    await use_async(pool)
    assert pool.connage_stats().retired == 1
    await pool.disconnect()


class Watcher:
    def __init__(self) -> None:
        self.connected = 0

    def on_connect(self, _: Any) -> None:
        self.connected += 1


@pytest.mark.parametrize("cls", SYNC_POOLS)
def test_a_connect_callback_of_ones_own_spares_no_connection(server: Server, cls: Any) -> None:
    pool = cls(port=server.port, maxage="1s", maxage_margin="900ms", maxage_jitter=0)
    watcher = Watcher()
    first, second = take(pool), take(pool)
    for connection in (first, second):
        connection.register_connect_callback(watcher.on_connect)
        pool.release(connection)
    eventually(lambda: use(pool) and not first.connage_life.is_open, "idle, it is retired")
    pool.retire_all()
    use(pool)
    assert watcher.connected > 0
    pool.disconnect()


# All at once, idle ones, and being told.


@pytest.mark.parametrize("cls", SYNC_POOLS)
def test_retire_all_retires_those_in_use_after_it_and_idle_ones_before_the_next(
    server: Server, cls: Any
) -> None:
    told: list[connage.Retired] = []
    pool = cls(port=server.port, on_retired=told.append)
    in_use, idle = take(pool), take(pool)
    for connection in (in_use, idle):
        connection.send_command("PING")
        connection.read_response()
    pool.release(idle)
    born = in_use.connage_life.born
    pool.retire_all()
    in_use.send_command("ECHO", "still there")
    assert in_use.read_response() in (b"still there", "still there")
    assert in_use.connage_life.born == born
    pool.release(in_use)
    connections = [take(pool), take(pool)]
    assert pool.connage_stats().retired == 2
    assert [each.reason for each in told] == ["retire_all", "retire_all"]
    for connection in connections:
        pool.release(connection)
    use(pool)
    assert pool.connage_stats().retired == 2
    pool.disconnect()


@pytest.mark.parametrize("cls", ASYNC_POOLS)
async def test_retire_all_of_asyncio_does_the_same(server: Server, cls: Any) -> None:
    told: list[connage.Retired] = []
    pool = cls(port=server.port, on_retired=told.append)
    in_use, idle = await take(pool), await take(pool)
    for connection in (in_use, idle):
        await connection.send_command("PING")
        await connection.read_response()
    await pool.release(idle)
    born = in_use.connage_life.born
    pool.retire_all()
    await in_use.send_command("ECHO", "still there")
    assert await in_use.read_response() in (b"still there", "still there")
    assert in_use.connage_life.born == born
    await pool.release(in_use)
    for _ in range(2):
        await take(pool)
    assert pool.connage_stats().retired == 2
    assert [each.reason for each in told] == ["retire_all", "retire_all"]
    await pool.disconnect()


@pytest.mark.parametrize("cls", SYNC_POOLS)
def test_an_idle_connection_retires_after_maxidle_and_a_used_one_does_not(
    server: Server, cls: Any
) -> None:
    told: list[connage.Retired] = []
    pool = cls(port=server.port, maxidle="300ms", on_retired=told.append)
    one, other = take(pool), take(pool)
    pool.release(one)
    pool.release(other)
    eventually(lambda: use(pool) and pool.connage_stats().open_connections == 1, "one is retired")
    end = time.monotonic() + 1
    while time.monotonic() < end and not told[1:]:
        started = time.monotonic()
        use(pool)
        if time.monotonic() - started > 0.1:
            break  # too busy a machine: it may have been idle for so long
    assert told[0].reason == "maxidle"
    pool.disconnect()


async def test_an_idle_connection_of_asyncio_retires_after_maxidle(server: Server) -> None:
    told: list[connage.Retired] = []
    pool: Any = connage.asyncio.ConnectionPool(
        port=server.port, maxidle="100ms", on_retired=told.append
    )
    connection = await use_async(pool)
    while not connection.connage_life.is_due():
        await asyncio.sleep(0.01)
    await use_async(pool)
    assert [each.reason for each in told] == ["maxidle"]
    await pool.disconnect()


def test_an_on_retired_that_raises_is_logged_and_nobodys_failure(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(_: Any) -> None:
        raise RuntimeError("mine")

    pool: Any = connage.ConnectionPool(port=server.port, on_retired=fails)
    use(pool)
    pool.retire_all()
    assert redis.Redis(connection_pool=pool).ping()
    assert "on_retired failed" in caplog.text
    pool.disconnect()


@pytest.mark.parametrize("cls", SYNC_POOLS)
def test_on_retired_may_use_the_pool(server: Server, cls: Any) -> None:
    counts: list[int] = []
    pool = cls(
        port=server.port,
        maxage="1s",
        maxage_jitter=0,
        maxage_margin="900ms",
        on_retired=lambda _: counts.append(client.incr("retired")),
    )
    client: Any = redis.Redis(connection_pool=pool)
    idle = [take(pool) for _ in range(5)]
    for connection in idle:
        pool.release(connection)
    eventually(lambda: all(each.connage_life.is_due() for each in idle), "all are at their limit")
    eventually(lambda: use(pool) and len(counts) >= 5, "all of them were retired")
    pool.disconnect()


# What the server hears.


@pytest.mark.parametrize("url", [True, False])
def test_a_server_that_is_not_told_hears_nothing_of_it(bare: Server, url: bool) -> None:
    bare.admin.config_resetstat()
    if url:
        pool: Any = connage.ConnectionPool.from_url(
            f"redis://127.0.0.1:{bare.port}?maxage=1h&maxage_tell_server=no&maxage_refresh=0&protocol=2"
        )
    else:
        pool = connage.ConnectionPool(
            port=bare.port, maxage="1h", maxage_tell_server=False, maxage_refresh=0, protocol=2
        )
    for _ in range(3):
        assert 0 < use(pool).connage_life.limit_ms <= 3_600_000
    assert bare.admin.info("errorstats").get("errorstat_ERR", {"count": 0})["count"] == 0
    pool.disconnect()


async def test_a_server_that_is_not_told_by_asyncio_hears_nothing_of_it(bare: Server) -> None:
    bare.admin.config_resetstat()
    pool: Any = connage.asyncio.ConnectionPool(
        port=bare.port, maxage="1h", maxage_tell_server=False, maxage_refresh=0, protocol=2
    )
    for _ in range(3):
        assert 0 < (await use_async(pool)).connage_life.limit_ms <= 3_600_000
    assert bare.admin.info("errorstats").get("errorstat_ERR", {"count": 0})["count"] == 0
    await pool.disconnect()


def test_after_a_login_of_its_own_it_asks_again(server: Server) -> None:
    server.admin.acl_setuser("w", enabled=True, nopass=True, keys="*", commands=["+@all"])
    server.configure(rules="w: user=w maxage=100s")
    pool: Any = connage.ConnectionPool(port=server.port, maxage="1h", maxage_jitter=0)
    connection = take(pool)
    assert connection.connage_life.limit_ms == 3_600_000
    connection.send_command("AUTH", "w", "any")
    connection.read_response()
    pool.release(connection)
    assert use(pool).connage_life.limit_ms == 100_000
    assert pool.connage_stats().retired == 0
    pool.disconnect()


def test_after_a_login_within_a_pipeline_it_asks_again(server: Server) -> None:
    server.admin.acl_setuser("w", enabled=True, nopass=True, keys="*", commands=["+@all"])
    server.configure(rules="w: user=w maxage=100s")
    pool: Any = connage.ConnectionPool(port=server.port, maxage="1h", max_connections=1)
    client: Any = redis.Redis(connection_pool=pool)
    pipeline = client.pipeline(transaction=False)
    pipeline.execute_command("AUTH", "w", "any").ping().execute()
    assert use(pool).connage_life.limit_ms == 100_000
    pool.disconnect()


async def test_after_a_login_of_its_own_asyncio_asks_again(server: Server) -> None:
    server.admin.acl_setuser("w", enabled=True, nopass=True, keys="*", commands=["+@all"])
    server.configure(rules="w: user=w maxage=100s")
    pool: Any = connage.asyncio.ConnectionPool(port=server.port, maxage="1h", maxage_jitter=0)
    connection = await take(pool)
    await connection.send_command("AUTH", "w", "any")
    await connection.read_response()
    await pool.release(connection)
    assert (await use_async(pool)).connage_life.limit_ms == 100_000
    await pool.disconnect()


# Retries.


@pytest.mark.parametrize(
    ("cls", "client"),
    [(cls, redis.Redis) for cls in SYNC_POOLS]
    + [(cls, redis.asyncio.Redis) for cls in ASYNC_POOLS],
)
def test_pools_retry_as_redis_pys_clients_do_by_default(cls: Any, client: Any) -> None:
    ours, theirs = cls(), client().connection_pool
    ours, theirs = (pool.make_connection().retry for pool in (ours, theirs))
    assert (ours._retries, type(ours._backoff)) == (theirs._retries, type(theirs._backoff))
    never = cls(retry=Retry(NoBackoff(), 0)).make_connection().retry
    assert cls(retry=None).make_connection().retry._retries == 0
    assert never._retries == 0


# Of redis-py's private attributes.


def test_the_private_attributes_of_redis_py_that_are_used_are_there() -> None:
    cache: Any = getattr(redis.connection, "CacheProxyConnection", None)
    places: dict[str, Any] = {
        "sync connection": redis.Connection(),
        "sync pool": redis.ConnectionPool(),
        "asyncio connection": redis.asyncio.Connection(),
    }
    missing = [
        f"{place}: {name} ({why})"
        for (place, name), why in PRIVATE.items()
        if place in places and not hasattr(places[place], name)
    ]
    assert missing == []
    if cache is not None:
        assert ("sync cache", "_conn") in PRIVATE
        assert "self._conn" in inspect.getsource(cache.__init__)


def test_redis_pys_metrics_have_no_name_for_a_retirement() -> None:
    metrics = pytest.importorskip("redis.observability.metrics", exc_type=ImportError)
    # With another reason, retirements are to be told by it.
    known = {"application_close", "error", "healthcheck_failed"}
    assert {reason.value for reason in metrics.CloseReason} == known


def test_redis_pys_metrics_count_each_retirement_as_closed(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = pytest.importorskip("redis.observability.recorder", exc_type=ImportError)
    closed: list[str] = []

    class Collector:
        def record_connection_closed(self, close_reason: Any, error_type: Any) -> None:
            closed.append(close_reason.value)

        def __getattr__(self, name: str) -> Any:
            return lambda *_, **__: None

    monkeypatch.setattr(recorder, "_get_or_create_collector", Collector)
    monkeypatch.setattr(recorder, "_metrics_collector", None)
    pool: Any = connage.ConnectionPool(port=server.port)
    use(pool)
    for number in (1, 2):
        pool.retire_all()
        use(pool)
        assert closed == ["application_close"] * number
    pool.disconnect()
