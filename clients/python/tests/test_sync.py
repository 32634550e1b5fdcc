from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from servers import Server, eventually, row, take

import connage

NEVER = Retry(NoBackoff(), 0)


@pytest.fixture
def pools() -> Iterator[Any]:
    """Makes pools, and closes them."""
    made: list[Any] = []

    def make(server: Server, cls: Any = connage.ConnectionPool, **settings: Any) -> Any:
        settings.setdefault("retry", NEVER)
        made.append(cls(port=server.port, **settings))
        return made[-1]

    yield make
    for pool in made:
        pool.disconnect()


def use(pool: Any) -> Any:
    """Hands a connection out and takes it back: that connection."""
    connection = take(pool)
    pool.release(connection)
    return connection


def client_id(client: Any) -> int:
    answer: int = client.client_id()
    return answer


def wait_until_due(connection: Any) -> None:
    eventually(connection.connage_life.is_due, "the connection is at its limit")


# What limit holds.


@pytest.mark.parametrize("decode_responses", [False, True])
@pytest.mark.parametrize("protocol", [2, 3])
def test_it_learns_the_limit_that_holds(
    server: Server, pools: Any, protocol: int, decode_responses: bool
) -> None:
    server.configure(maxage=100_000)
    life = use(pools(server, protocol=protocol, decode_responses=decode_responses)).connage_life
    assert life.told_by_server
    assert life.limit_ms == 100_000


@pytest.mark.parametrize(
    ("own", "servers", "holds"),
    [("5m", "1m", 60_000), ("1m", "5m", 60_000), ("1m", "0", 60_000), ("0", "1m", 60_000)],
)
def test_the_tighter_of_its_own_limit_and_the_servers_holds(
    server: Server, pools: Any, own: str, servers: str, holds: int
) -> None:
    server.configure(maxage=servers)
    pool = pools(server, maxage=own, maxage_jitter=0)
    assert use(pool).connage_life.limit_ms == holds
    found = redis.Redis(connection_pool=pool).execute_command("CONNAGE.SELF")
    assert row(found)[b"limit-ms"] == holds


def test_neither_has_a_limit_and_nothing_is_retired(server: Server, pools: Any) -> None:
    life = use(pools(server)).connage_life
    assert life.told_by_server
    assert life.limit_ms == 0
    assert not life.is_due()


def test_it_goes_by_the_servers_jitter(server: Server, pools: Any) -> None:
    server.configure(maxage="10s", jitter=50)
    pool = pools(server, maxage="10s", maxage_jitter=0)
    connections = [take(pool) for _ in range(20)]
    limits = {connection.connage_life.limit_ms for connection in connections}
    assert len(limits) > 10
    assert all(5_000 <= limit <= 10_000 for limit in limits)


def test_the_server_knows_the_limit_that_a_connection_drew_for_itself(
    server: Server, pools: Any
) -> None:
    pool = pools(server, maxage="100s", client_name="drawn")
    drawn = [take(pool).connage_life.limit_ms for _ in range(10)]
    found = server.admin.execute_command("CONNAGE.LIST", "NAME", "drawn")
    known = [row(each)["limit-ms"] for each in found]
    assert sorted(known) == sorted(drawn)
    assert len(set(drawn)) > 5
    assert all(90_000 <= limit <= 100_000 for limit in drawn)


@pytest.mark.parametrize("rule", ["name=batch-*", "lib=redis-py*"])
def test_it_learns_the_limit_that_a_rule_gives_to_its_name_or_library(
    server: Server, pools: Any, rule: str
) -> None:
    server.configure(maxage="1h", rules=f"mine: {rule} maxage=20s")
    pool = pools(server, maxage="5m", maxage_jitter=0, client_name="batch-1", db=1)
    knows_libraries = server.admin.info()["redis_version"] >= "7.2"
    expected = 300_000 if "lib" in rule and not knows_libraries else 20_000
    assert use(pool).connage_life.limit_ms == expected


def test_a_limit_that_the_server_lowers_arrives_at_the_next_hand_out(
    server: Server, pools: Any
) -> None:
    pool = pools(server, maxage="1h", maxage_jitter=0, maxage_refresh=0)
    before = use(pool).connage_life.limit_ms
    server.configure(maxage="100s")
    assert (before, use(pool).connage_life.limit_ms) == (3_600_000, 100_000)
    server.configure(maxage="0")
    assert use(pool).connage_life.limit_ms == 3_600_000


def test_a_connection_that_the_lowered_limit_has_overtaken_is_retired_at_once(
    server: Server, pools: Any
) -> None:
    pool = pools(server, maxage_refresh=0)
    life = use(pool).connage_life
    eventually(lambda: life.age_ms() > 60, "it is older than the limit will be")
    server.admin.execute_command("CONNAGE.CONFIG", "SET", "enabled", "no")
    try:
        server.configure(maxage=50)
        use(pool)
    finally:
        server.configure(maxage=0)
        server.admin.execute_command("CONNAGE.CONFIG", "SET", "enabled", "yes")
    assert pool.connage_stats().retired == 1


def test_it_does_not_ask_the_server_again_before_it_is_time(server: Server, pools: Any) -> None:
    pool = pools(server, maxage="1h", maxage_jitter=0)
    use(pool)
    server.configure(maxage="100s")
    assert use(pool).connage_life.limit_ms == 3_600_000


def test_a_connection_that_the_server_closed_is_replaced_when_it_would_ask_again(
    server: Server, pools: Any
) -> None:
    pool = pools(server, maxage="1h", maxage_refresh=0, client_name="gone")
    use(pool)
    server.admin.client_kill_filter(_id=server.ids("gone").pop())
    assert redis.Redis(connection_pool=pool).ping()


def test_without_the_module_it_goes_by_its_own_limit_and_says_so_once(
    bare: Server, pools: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connage._lifetime._said", set())
    with caplog.at_level(logging.DEBUG, "connage"):
        pool = pools(bare, maxage="100s")
        connections = [take(pool) for _ in range(20)]
    limits = {connection.connage_life.limit_ms for connection in connections}
    assert len(limits) > 10
    assert all(90_000 <= limit <= 100_000 for limit in limits)
    assert [record.levelname for record in caplog.records] == ["DEBUG"]
    assert "100000 ms" in caplog.text


def test_without_permission_it_goes_by_its_own_limit_and_says_so_once(
    server: Server, pools: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connage._lifetime._said", set())
    server.admin.acl_setuser(
        "weak", enabled=True, nopass=True, keys="*", commands=["+@all", "-connage.self"]
    )
    with caplog.at_level(logging.DEBUG, "connage"):
        pool = pools(server, maxage="100s", maxage_jitter=0, username="weak", password="any")
        for _ in range(3):
            assert take(pool).connage_life.limit_ms == 100_000
    assert [record.levelname for record in caplog.records] == ["DEBUG"]


# When it retires.


@pytest.mark.parametrize("has_module", [True, False])
def test_a_connection_at_its_limit_is_opened_anew_before_it_is_handed_out(
    server: Server, bare: Server, pools: Any, has_module: bool
) -> None:
    pool = pools(server if has_module else bare, maxage="20s", maxage_jitter=0, maxage_margin="19s")
    client = redis.Redis(connection_pool=pool)
    first = client_id(client)
    assert client_id(client) == first
    wait_until_due(use(pool))
    assert client_id(client) != first
    stats = pool.connage_stats()
    assert (stats.retired, stats.evicted, stats.open_connections) == (1, 0, 1)
    assert stats.oldest_age_ms < 20_000
    if has_module:
        assert server.evicted == 0


def test_it_retires_just_before_its_limit_and_not_earlier(server: Server, pools: Any) -> None:
    # Not told by the server: a slow round trip would make it earlier.
    pool = pools(server, maxage=500, maxage_jitter=0, maxage_tell_server=False)
    life = use(pool).connage_life
    eventually(life.is_due, "the connection is at its limit")
    assert 450 <= life.age_ms()
    assert life.limit_ms == 500


def test_the_margin_can_be_set(server: Server, pools: Any) -> None:
    life = use(pools(server, maxage=500, maxage_jitter=0, maxage_margin="200ms")).connage_life
    eventually(lambda: life.age_ms() >= 300, "the connection is at its limit")
    assert life.is_due()


def test_idle_connections_of_a_pool_in_use_retire_too(server: Server, pools: Any) -> None:
    pool = pools(server, maxage="20s", maxage_jitter=1, maxage_margin="19s", client_name="idle")
    for connection in [take(pool) for _ in range(10)]:
        pool.release(connection)
    client = redis.Redis(connection_pool=pool)
    eventually(
        lambda: client.ping() and pool.connage_stats().retired >= 10, "all of them were retired"
    )
    assert server.evicted == 0
    assert len(server.ids("idle")) < 10


def test_a_transaction_is_not_cut_at_its_limit(bare: Server, pools: Any) -> None:
    pool = pools(bare, maxage=400, maxage_jitter=0)
    client = redis.Redis(connection_pool=pool)
    with client.pipeline() as pipeline:
        pipeline.watch("watched")
        connection = pipeline.connection
        wait_until_due(connection)
        assert pipeline.client_id() == pipeline.client_id()
        pipeline.multi()
        pipeline.set("watched", 1)
        assert pipeline.execute() == [True]
    assert pool.connage_stats().retired == 0


def test_a_blocking_call_is_not_cut_at_its_limit(bare: Server, pools: Any) -> None:
    pool = pools(bare, maxage=400, maxage_jitter=0)
    client = redis.Redis(connection_pool=pool)
    connection = use(pool)
    popped: list[Any] = []
    worker = threading.Thread(target=lambda: popped.append(client.blpop(["queue"])))
    worker.start()
    wait_until_due(connection)
    bare.admin.rpush("queue", "job")
    worker.join(10)
    assert popped == [(b"queue", b"job")] or popped == [[b"queue", b"job"]]


@pytest.mark.parametrize("block", [True, False])
def test_a_subscription_is_not_cut_at_its_limit(bare: Server, pools: Any, block: bool) -> None:
    pool = pools(bare, maxage=400, maxage_jitter=0, client_name=f"subscriber-{block}")
    subscriber = redis.Redis(connection_pool=pool).pubsub(ignore_subscribe_messages=True)
    subscriber.subscribe("channel")
    assert subscriber.get_message(timeout=1) is None
    before = bare.ids(f"subscriber-{block}")
    wait_until_due(subscriber.connection)
    bare.admin.publish("channel", "still there")
    message = next(subscriber.listen()) if block else subscriber.get_message(timeout=5)
    assert message is not None
    assert message["data"] == b"still there"
    assert bare.ids(f"subscriber-{block}") == before
    subscriber.close()


def test_a_subscribers_connection_retires_again_once_it_is_given_back(
    bare: Server, pools: Any
) -> None:
    pool = pools(bare, maxage=400, maxage_jitter=0)
    subscriber = redis.Redis(connection_pool=pool).pubsub()
    subscriber.subscribe("channel")
    subscriber.close()
    wait_until_due(use(pool))
    use(pool)
    assert pool.connage_stats().retired == 1


def test_a_client_with_a_single_connection_keeps_it(bare: Server, pools: Any) -> None:
    pool = pools(bare, maxage=400, maxage_jitter=0)
    client = redis.Redis(connection_pool=pool, single_connection_client=True)
    before = client_id(client)
    wait_until_due(client.connection)
    assert client_id(client) == before
    client.close()


# What the server evicts.


def test_what_the_server_evicted_while_it_lay_idle_is_counted_and_nobody_notices(
    server: Server, pools: Any
) -> None:
    server.configure(maxage=150)
    pool = pools(server, client_name="idle")
    client = redis.Redis(connection_pool=pool)
    client.ping()
    eventually(lambda: not server.ids("idle"), "the server has evicted it")
    assert client.ping()
    assert (pool.connage_stats().retired, pool.connage_stats().evicted) == (1, 0)


def test_what_the_server_evicted_by_a_lowered_limit_is_counted_and_nobody_notices(
    server: Server, pools: Any
) -> None:
    pool = pools(server, client_name="overtaken")
    client = redis.Redis(connection_pool=pool)
    client.ping()
    life = use(pool).connage_life
    eventually(lambda: life.age_ms() > 210, "it is older than the limit will be")
    server.configure(maxage=200)
    eventually(lambda: not server.ids("overtaken"), "the server has evicted it")
    assert client.ping()
    assert (pool.connage_stats().retired, pool.connage_stats().evicted) == (0, 1)


# Which pools.


def test_redis_pys_own_pools_can_use_the_connection_class(server: Server, pools: Any) -> None:
    for cls in (redis.ConnectionPool, redis.BlockingConnectionPool):
        settings = {"connection_class": connage.Connection, "max_connections": 100}
        pool = pools(server, cls, maxage="20s", maxage_margin="19s", maxage_jitter=0, **settings)
        client = redis.Redis(connection_pool=pool)
        first = client_id(client)
        wait_until_due(use(pool))
        assert client_id(client) != first


def test_a_blocking_pool_retires_its_connections(server: Server, pools: Any) -> None:
    settings = {"maxage": "20s", "maxage_margin": "19s", "maxage_jitter": 0}
    pool = pools(server, connage.BlockingConnectionPool, timeout=1, **settings)
    client = redis.Redis(connection_pool=pool)
    first = client_id(client)
    wait_until_due(use(pool))
    assert client_id(client) != first
    assert pool.connage_stats().retired == 1


def test_a_url_can_say_maxage(server: Server) -> None:
    url = f"redis://localhost:{server.port}?maxage=70s&maxage_jitter=0&maxage_margin=1s"
    pool = connage.ConnectionPool.from_url(url)
    client = redis.Redis.from_url(url, connection_class=connage.Connection)
    for made in (pool, client.connection_pool):
        life = use(made).connage_life
        assert (life.limit_ms, life.policy.margin_ms) == (70_000, 1_000)
        made.disconnect()


def test_a_unix_socket_connection_retires(server: Server) -> None:
    url = f"unix://{server.socket_path}?maxage=20s&maxage_margin=19s&db=1"
    pool = connage.ConnectionPool.from_url(url)
    assert pool.connection_class is connage.UnixDomainSocketConnection
    client = redis.Redis(connection_pool=pool)
    first = client_id(client)
    assert use(pool).connage_life.told_by_server
    wait_until_due(use(pool))
    assert client_id(client) != first
    pool.disconnect()


def test_a_class_of_ones_own_gets_a_limit(server: Server, pools: Any) -> None:
    class Own(redis.Connection):
        pass

    connection: Any = use(pools(server, connection_class=Own, maxage="1m", maxage_jitter=0))
    assert issubclass(type(connection), Own)
    assert connection.connage_life.limit_ms == 60_000


@pytest.mark.parametrize("calls_on_connect", [True, False])
def test_a_connect_func_of_ones_own_is_called_and_the_server_told_after_it(
    server: Server, pools: Any, calls_on_connect: bool
) -> None:
    called: list[Any] = []

    def connect_func(connection: Any) -> None:
        called.append(connection)
        if calls_on_connect:
            connection.on_connect()
        else:
            connection._parser.on_connect(connection)

    pool = pools(server, maxage="1m", redis_connect_func=connect_func, protocol=2)
    connection = use(pool)
    assert called == [connection]
    assert connection.connage_life.told_by_server
    assert redis.Redis(connection_pool=pool).ping()


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"lib_name": None, "lib_version": None},
        {"lib_version": None},
        {"lib_name": None, "lib_version": None, "client_name": "only-name"},
        {"db": 2, "client_name": "all"},
        {"health_check_interval": 1, "db": 2},
        {"encoding": "ascii", "decode_responses": True},
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_however_the_handshake_goes_commands_get_their_own_replies(
    server: Server, pools: Any, settings: dict[str, Any]
) -> None:
    pool = pools(server, maxage="1m", maxage_jitter=0, **settings)
    connection = use(pool)
    assert connection.connage_life.limit_ms == 60_000
    echo = redis.Redis(connection_pool=pool).echo("mine")
    assert echo in ("mine", b"mine")


# Threads and forks.


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_opens_its_own_connections_and_leaves_its_parents_alone(
    server: Server, pools: Any
) -> None:
    pool = pools(server, maxage=400, maxage_jitter=0)
    client = redis.Redis(connection_pool=pool)
    parents = client_id(client)
    wait_until_due(use(pool))
    child = os.fork()
    if child == 0:
        try:
            # The child's pool starts empty: its parent's connection is neither used nor closed.
            first = client_id(client)
            wait_until_due(use(pool))
            retired_own = client_id(client) != first and pool.connage_stats().retired == 1
            os._exit(0 if first != parents and retired_own else 1)
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    assert client_id(client) != parents
    assert pool.connage_stats().retired == 1


class Workers:
    """Eight threads flat out on one pool, each with a counter of its own in the server."""

    def __init__(self, pool: Any, pipelines: bool = True) -> None:
        self.pool = pool
        self._pipelines = pipelines
        self.failures: list[Exception] = []
        self.commands = 0
        self.slowest = 0.0
        self._stop = threading.Event()
        self._lock = threading.Lock()

    def run_until(self, enough: Any) -> None:
        threads = [threading.Thread(target=self._work, args=(f"count-{n}",)) for n in range(8)]
        for thread in threads:
            thread.start()
        try:
            eventually(lambda: self._stop.is_set() or enough(), "enough was done", 120)
        finally:
            self._stop.set()
            for thread in threads:
                thread.join(30)

    def _work(self, key: str) -> None:
        client = redis.Redis(connection_pool=self.pool)
        done = 0
        try:
            while not self._stop.is_set():
                started = time.monotonic()
                assert client.incr(key) == done + 1
                done += 1
                self.slowest = max(self.slowest, time.monotonic() - started)
                if self._pipelines:
                    pipeline: Any = client.pipeline(transaction=done % 2 == 0)
                    assert pipeline.incr(key).incr(key).execute() == [done + 1, done + 2]
                    done += 2
                if not hasattr(self.pool, "connage_stats"):
                    continue
                # Six connections at a time: their commands may arrive in any order.
                held = [take(self.pool) for _ in range(6)]
                for connection in held:
                    connection.send_command("INCR", key)
                answers = sorted(int(connection.read_response()) for connection in held)
                for connection in held:
                    self.pool.release(connection)
                assert answers == list(range(done + 1, done + 7))
                done += 6
        except Exception as failure:
            self.failures.append(failure)
            self._stop.set()
        with self._lock:
            self.commands += done


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_pool_of_50_in_8_threads_goes_through_500_retirements_without_a_scratch(
    server: Server, pools: Any
) -> None:
    server.configure(maxage="10s", jitter=50)
    # Shares its machine with others: a wide margin, so that no pause can outlast it.
    pool = pools(server, max_connections=50, maxage=5000, maxage_margin=4500)
    workers = Workers(pool)
    evicted = []

    def enough() -> bool:
        # While all of them still work: what lies idle later is for the server to evict.
        evicted.append(server.evicted)
        return bool(pool.connage_stats().retired >= 500)

    workers.run_until(enough)
    stats = pool.connage_stats()
    print(
        f"\n{workers.commands} commands, slowest command {workers.slowest * 1000:.1f} ms, {stats}"
    )
    assert workers.failures == []
    assert (stats.evicted, evicted[-1]) == (0, 0)
    assert stats.open_connections > 20


def test_with_retries_the_application_sees_no_eviction_even_without_maxage(server: Server) -> None:
    server.configure(maxage=400, jitter=50)
    retry = Retry(NoBackoff(), 3)
    errors = [redis.ConnectionError, redis.TimeoutError]
    pool = redis.ConnectionPool(
        port=server.port, max_connections=50, retry=retry, retry_on_error=errors
    )
    # redis-py 5 retries single commands only.
    workers = Workers(pool, pipelines=not redis.__version__.startswith("5."))
    # They never pause, and so each of them lives for half of its grace beyond its limit.
    workers.run_until(lambda: server.evicted >= 20)
    pool.disconnect()
    evicted = server.info()
    print(
        f"\n{workers.commands} commands, slowest command {workers.slowest * 1000:.1f} ms, "
        f"{evicted['evicted_connections']} evictions"
    )
    assert workers.failures == []
    assert evicted["evicted_quiet"] == evicted["evicted_connections"]


def test_without_retries_an_eviction_may_be_an_exception_and_then_nothing_was_executed(
    server: Server,
) -> None:
    # It never pauses, and so lives for half of its grace beyond its limit.
    server.configure(maxage=50, jitter=50, grace="1s")
    pool = redis.ConnectionPool(port=server.port)
    client = redis.Redis(connection_pool=pool)
    done = failed = 0
    while server.evicted < 10:
        for _ in range(20):
            try:
                done += 1
                assert client.incr("plain") == done
            except redis.ConnectionError:
                done -= 1
                failed += 1
    pool.disconnect()
    print(f"\n{done} commands, {failed} exceptions, {server.evicted} evictions")
    assert int(server.admin.get("plain")) == done


def test_a_connection_that_waited_long_for_its_first_command_is_retired_before_it(
    server: Server, pools: Any
) -> None:
    pool = pools(server, maxage="20s", maxage_jitter=0, maxage_margin="19s", protocol=2)
    connection = take(pool)
    wait_until_due(connection)
    connection.send_command("PING")
    assert connection.read_response() in (b"PONG", "PONG")
    assert (pool.connage_stats().retired, server.evicted) == (1, 0)
    second_life = connection.connage_life.born
    wait_until_due(connection)
    connection.send_command("PING")
    assert connection.connage_life.born == second_life, "in use by now: not cut"
    pool.release(connection)
