"""TLS, Sentinel, Cluster, client-side caching, and what it costs."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio
import redis.asyncio.sentinel
import redis.cluster
import redis.sentinel
from conftest import NAMES
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry
from servers import SERVERS, Server, eventually, free_port, missing, running, take

import connage

RECENT = NAMES[-1]


def use(pool: Any) -> Any:
    connection = take(pool)
    pool.release(connection)
    return connection


def wait_until_due(connection: Any) -> None:
    eventually(connection.connage_life.is_due, "the connection is at its limit")


# TLS.


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, str]]:
    """The TLS port of a server, and its certificate."""
    if shutil.which("openssl") is None:
        missing("there is no openssl")
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = str(folder / "key.pem"), str(folder / "certificate.pem")
    make = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
    make += " -addext subjectAltName=DNS:localhost"
    command = [*make.split(), "-keyout", key, "-out", certificate]
    subprocess.run(command, check=True, capture_output=True)
    port = free_port()
    options = ["--tls-port", str(port), "--tls-cert-file", certificate, "--tls-key-file", key]
    options += ["--tls-ca-cert-file", certificate, "--tls-auth-clients", "no"]
    with running("redis-7.0", *options):  # not all of the others have TLS
        yield port, certificate


def test_a_tls_connection_retires(tls: tuple[int, str]) -> None:
    port, certificate = tls
    url = f"rediss://localhost:{port}?maxage=20s&maxage_jitter=0&maxage_margin=19s"
    pool = connage.ConnectionPool.from_url(url, ssl_ca_certs=certificate)
    assert pool.connection_class is connage.SSLConnection
    client: Any = redis.Redis(connection_pool=pool)
    first = client.client_id()
    assert use(pool).connage_life.told_by_server
    wait_until_due(use(pool))
    assert client.client_id() != first
    assert pool.connage_stats()[:2] == (1, 0)
    pool.disconnect()


async def test_a_tls_connection_of_asyncio_retires(tls: tuple[int, str]) -> None:
    port, certificate = tls
    url = f"rediss://localhost:{port}?maxage=20s&maxage_jitter=0&maxage_margin=19s"
    pool = connage.asyncio.ConnectionPool.from_url(url, ssl_ca_certs=certificate)
    client: Any = redis.asyncio.Redis(connection_pool=pool)
    first = await client.client_id()
    connection = await take(pool)
    await pool.release(connection)
    wait_until_due(connection)
    assert await client.client_id() != first
    assert pool.connage_stats()[:2] == (1, 0)
    await pool.disconnect()


@contextlib.contextmanager
def silent() -> Iterator[int]:
    """The port of somebody who lets others connect, and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_a_tls_handshake_without_an_answer_leaves_the_old_connection(tls: tuple[int, str]) -> None:
    port, certificate = tls
    pool = connage.ConnectionPool.from_url(
        f"rediss://localhost:{port}", ssl_ca_certs=certificate, socket_timeout=None
    )
    client: Any = redis.Redis(connection_pool=pool)
    first = client.client_id()
    connection = take(pool)
    pool.retire_all()
    with silent() as nobody:
        connection.port = nobody
        pool.release(connection)
        assert client.client_id() == first
    pool.disconnect()


async def test_a_tls_handshake_of_asyncio_without_an_answer_leaves_the_old_connection(
    tls: tuple[int, str],
) -> None:
    port, certificate = tls
    pool = connage.asyncio.ConnectionPool.from_url(
        f"rediss://localhost:{port}", ssl_ca_certs=certificate, socket_timeout=None
    )
    client: Any = redis.asyncio.Redis(connection_pool=pool)
    first = await client.client_id()
    connection = await take(pool)
    pool.retire_all()
    with silent() as nobody:
        connection.port = nobody
        await pool.release(connection)
        assert await client.client_id() == first
    await pool.disconnect()


# Sentinel.


@pytest.fixture(scope="module")
def sentinel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a Sentinel that watches a server by the name of ``primary``."""
    with running(RECENT) as server:
        port = free_port()
        settings = tmp_path_factory.mktemp("sentinel") / "sentinel.conf"
        settings.write_text(
            f"port {port}\nbind 127.0.0.1\nsentinel monitor primary 127.0.0.1 {server.port} 1\n"
        )
        launcher = str(SERVERS / RECENT / "server")
        process = subprocess.Popen(
            [launcher, str(settings), "--sentinel"], stdout=subprocess.DEVNULL
        )

        def answers() -> bool:
            try:
                return bool(
                    redis.sentinel.Sentinel([("127.0.0.1", port)]).discover_master("primary")
                )
            except redis.ConnectionError:
                return False

        try:
            eventually(answers, "the sentinel knows the server")
            yield port
        finally:
            process.kill()
            process.wait()


def test_a_connection_of_a_sentinel_pool_retires(sentinel: int) -> None:
    manager = redis.sentinel.Sentinel([("127.0.0.1", sentinel)])
    cls = connage.SentinelManagedConnection
    client: Any = manager.master_for("primary", connection_class=cls, maxage=300, maxage_jitter=0)
    first = client.client_id()
    life = use(client.connection_pool).connage_life
    assert life.told_by_server
    eventually(life.is_due, "the connection is at its limit")
    assert client.client_id() != first
    client.connection_pool.disconnect()


class Interrupt(BaseException):
    """As gevent's timeouts and a KeyboardInterrupt are: no Exception."""


def test_an_interrupt_leaves_no_reply_to_come_on_a_connection_of_a_sentinel_pool(
    sentinel: int,
) -> None:
    def interrupts(*_: Any) -> None:
        raise Interrupt

    manager = redis.sentinel.Sentinel([("127.0.0.1", sentinel)])
    cls = connage.SentinelManagedConnection
    client: Any = manager.master_for("primary", connection_class=cls)
    client.ping()
    host, port = manager.discover_master("primary")
    watcher: Any = redis.Redis(host=host, port=port)

    waiting = threading.get_ident()

    def once_it_waits() -> None:
        eventually(lambda: watcher.info("clients")["blocked_clients"] == 1, "it waits")
        signal.pthread_kill(waiting, signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, interrupts)
    try:
        thread = threading.Thread(target=once_it_waits)
        with pytest.raises(Interrupt):
            thread.start()
            client.blpop(["nothing"], timeout=20)
        thread.join()
    finally:
        signal.signal(signal.SIGUSR1, before)
        watcher.close()
    assert client.echo("mine") == b"mine"
    client.connection_pool.disconnect()


def test_a_connection_that_a_sentinel_no_longer_names_is_not_kept(sentinel: int) -> None:
    manager = redis.sentinel.Sentinel([("127.0.0.1", sentinel)])
    cls = connage.SentinelManagedConnection
    client: Any = manager.master_for("primary", connection_class=cls)
    first = client.client_id()
    client.connection_pool.set_retry(Retry(NoBackoff(), 0))
    sentinels = use(client.connection_pool).connection_pool
    found = sentinels.get_master_address

    def nobody() -> Any:
        raise redis.ConnectionError

    def another() -> Any:
        sentinels.master_address = ("127.0.0.1", free_port())
        return sentinels.master_address

    sentinels.get_master_address = nobody
    cls.connage_retire_all()
    assert client.client_id() == first
    sentinels.get_master_address = another
    cls.connage_counters._paused.clear()
    with pytest.raises(redis.ConnectionError):
        client.client_id()
    sentinels.get_master_address = found
    assert client.client_id() != first
    client.connection_pool.disconnect()


async def test_a_connection_that_a_sentinel_no_longer_names_is_not_kept_by_asyncio(
    sentinel: int,
) -> None:
    manager = redis.asyncio.sentinel.Sentinel([("127.0.0.1", sentinel)])
    cls = connage.asyncio.SentinelManagedConnection
    client: Any = manager.master_for("primary", connection_class=cls)
    first = await client.client_id()
    pool = client.connection_pool
    pool.set_retry(AsyncRetry(NoBackoff(), 0))
    found = pool.get_master_address

    async def nobody() -> Any:
        raise redis.ConnectionError

    async def another() -> Any:
        pool.master_address = ("127.0.0.1", free_port())
        return pool.master_address

    pool.get_master_address = nobody
    cls.connage_retire_all()
    assert await client.client_id() == first
    pool.get_master_address = another
    cls.connage_counters._paused.clear()
    with pytest.raises(redis.ConnectionError):
        await client.client_id()
    pool.get_master_address = found
    assert await client.client_id() != first
    await pool.disconnect()


async def test_a_connection_of_an_asyncio_sentinel_pool_retires(sentinel: int) -> None:
    manager = redis.asyncio.sentinel.Sentinel([("127.0.0.1", sentinel)])
    cls = connage.asyncio.SentinelManagedConnection
    client: Any = manager.master_for("primary", connection_class=cls, maxage=300, maxage_jitter=0)
    first = await client.client_id()
    assert await client.client_id() == first
    connection = await take(client.connection_pool)
    await client.connection_pool.release(connection)
    wait_until_due(connection)
    assert await client.client_id() != first
    await client.connection_pool.disconnect()


# Cluster.


@pytest.fixture(scope="module")
def cluster() -> Iterator[Server]:
    """A cluster of one node."""
    bus = str(free_port())
    with running(RECENT, "--cluster-enabled", "yes", "--cluster-port", bus) as server:
        server.admin.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
        eventually(
            lambda: server.admin.execute_command("CLUSTER INFO")["cluster_state"] == "ok",
            "the cluster is up",
        )
        yield server


@pytest.mark.parametrize("read_from_replicas", [False, True])
def test_connections_of_a_cluster_retire(cluster: Server, read_from_replicas: bool) -> None:
    cls = connage.connection(maxage="300ms", jitter=0)
    client: Any = redis.cluster.RedisCluster.from_url(
        f"redis://127.0.0.1:{cluster.port}",
        connection_class=cls,
        read_from_replicas=read_from_replicas,
    )
    node = client.get_default_node()
    pool = client.get_redis_connection(node).connection_pool
    first = client.client_id(target_nodes=node)
    life = use(pool).connage_life
    assert (life.told_by_server, life.limit_ms) == (True, 300)
    eventually(life.is_due, "the connection is at its limit")
    assert client.client_id(target_nodes=node) != first
    assert cls.connage_stats().retired == 1
    client.close()


async def test_connections_of_an_asyncio_cluster_retire_and_no_reply_is_lost(
    cluster: Server,
) -> None:
    client: Any = connage.asyncio.RedisCluster(
        host="127.0.0.1", port=cluster.port, maxage=400, maxage_jitter=20, maxage_margin=200
    )
    await client.initialize()
    stop = asyncio.Event()

    async def work(key: str) -> None:
        done = 0
        while not stop.is_set():
            assert await client.incr(key) == done + 1
            pipeline = client.pipeline()
            assert await pipeline.incr(key).incr(key).execute() == [done + 2, done + 3]
            done += 3

    tasks = [asyncio.create_task(work(f"count-{n}")) for n in range(10)]
    for _ in range(2000):
        if client.connage_stats().retired >= 50 or any(task.done() for task in tasks):
            break
        await asyncio.sleep(0.01)
    stop.set()
    await asyncio.gather(*tasks)
    assert client.connage_stats().retired >= 50
    await getattr(client, "aclose", client.close)()


@pytest.mark.skipif(
    not hasattr(redis.asyncio.cluster, "TransactionStrategy"), reason="not in this redis-py"
)
async def test_a_transaction_in_an_asyncio_cluster_is_not_cut_at_its_limit(cluster: Server) -> None:
    client: Any = connage.asyncio.RedisCluster(
        host="127.0.0.1", port=cluster.port, maxage=400, maxage_jitter=0
    )
    async with client.pipeline(transaction=True) as pipeline:
        await pipeline.watch("watched")
        before = client.connage_stats().retired
        held = pipeline._execution_strategy._transaction_connection
        life = held.connage_life
        born = life.born
        # Its limit, not the server's, which waits for the transaction's end.
        eventually(life.is_due, "the connection is at its limit")
        await pipeline.get("watched")
        pipeline.multi()
        pipeline.set("watched", 1)
        assert await pipeline.execute() == [True]
        assert life.born == born
    assert client.connage_stats().retired == before
    await client.aclose()


async def test_what_an_asyncio_cluster_could_not_pack_is_not_awaited(cluster: Server) -> None:
    client: Any = connage.asyncio.RedisCluster(host="127.0.0.1", port=cluster.port)
    assert await client.set("key", 1)
    with pytest.raises(redis.DataError):
        await client.set("key", object())
    pipeline = client.pipeline()
    with pytest.raises(redis.DataError):
        await pipeline.set("key", 2).set("key", object()).execute()
    made = [each for node in client.get_nodes() for each in node._connections]
    assert made
    assert [each._replies_to_come for each in made] == [0] * len(made)
    assert await client.get("key") == b"1"
    await getattr(client, "aclose", client.close)()


async def test_what_an_asyncio_cluster_was_kept_from_sending_is_not_awaited(
    cluster: Server,
) -> None:
    client: Any = connage.asyncio.RedisCluster(host="127.0.0.1", port=cluster.port)
    for step in ("asking", "opening"):
        assert await client.set("key", 1)
        # redis-py 5 loses those that fail while they send, and makes others.
        made = [each for node in client.get_nodes() for each in node._connections]
        blocked = asyncio.Event()

        async def blocks(*_: Any) -> None:
            blocked.set()
            await asyncio.sleep(60)

        for each in made:
            each.connage_life._ask_at = 0.0 if step == "asking" else float("inf")
            name = "_ask_again" if step == "asking" else "_has_unread"
            setattr(each, name, blocks)
        if step == "opening":
            client.retire_all()
        task = asyncio.create_task(client.get("key"))
        await blocked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        for each in made:
            delattr(each, name)
            each.connage_life._ask_at = float("inf")
        assert [each._replies_to_come for each in made] == [0] * len(made)
        assert await client.get("key") == b"1"
    await getattr(client, "aclose", client.close)()


# Client-side caching.


@pytest.mark.skipif(not hasattr(redis.connection, "CacheProxyConnection"), reason="no cache yet")
def test_what_a_retired_connection_had_cached_is_forgotten() -> None:
    from redis.cache import CacheConfig

    with running("redis-8.2") as server:
        pool = connage.ConnectionPool(
            port=server.port,
            protocol=3,
            cache_config=CacheConfig(),
            maxage=3000,
            maxage_jitter=0,
            maxage_margin=2700,
        )
        client: Any = redis.Redis(connection_pool=pool)
        server.admin.set("key", "old")
        assert client.get("key") == b"old"
        assert client.get_cache().size == 1
        wait_until_due(use(pool)._conn)
        use(pool)
        assert client.get_cache().size == 0
        server.admin.set("key", "new")
        assert client.get("key") == b"new"
        assert pool.connage_stats()[:2] == (1, 0)
        pool.disconnect()


# What it costs.


class Relay:
    """Counts a client's round trips: it is far from the server, so that what the client sends
    without waiting for answers travels together."""

    def __init__(self, port: int) -> None:
        self.round_trips = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._to = port
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        client, _ = self._listener.accept()
        server = socket.create_connection(("127.0.0.1", self._to))
        turn = threading.Lock()
        clients = False

        def pump(source: socket.socket, sink: socket.socket, is_client: bool) -> None:
            nonlocal clients
            with contextlib.suppress(OSError):  # One of them may close while we read or write.
                while data := source.recv(65536):
                    if is_client:
                        time.sleep(0.05)
                        if select.select([source], [], [], 0)[0]:
                            data += source.recv(65536)
                    with turn:
                        if is_client and not clients:
                            self.round_trips += 1
                        clients = is_client
                        sink.sendall(data)
                sink.shutdown(socket.SHUT_WR)

        threading.Thread(target=pump, args=(server, client, False), daemon=True).start()
        pump(client, server, True)

    def close(self) -> None:
        self._listener.close()


COSTS = [
    {"protocol": 2},
    {"protocol": 3},
    {"protocol": 2, "db": 1, "client_name": "named"},
    {"protocol": 3, "db": 1},
]


@pytest.mark.parametrize("settings", COSTS)
def test_connecting_costs_no_round_trip_of_its_own(
    server: Server, settings: dict[str, Any]
) -> None:
    classes: list[Any] = [redis.Connection, connage.Connection]
    trips: list[list[int]] = [[], []]
    # A machine that stalls adds to them, and takes none away.
    for number in [0, 1] * 3:
        relay = Relay(server.port)
        extra: dict[str, Any] = {"maxage": "5m"} if number else {}
        connection: Any = classes[number](port=relay.port, **settings, **extra)
        connection.connect()
        trips[number].append(relay.round_trips)
        connection.disconnect()
        relay.close()
    print(f"\n{settings}: {trips}")
    assert min(trips[0]) == min(trips[1]) > 0


@pytest.mark.parametrize("settings", COSTS)
async def test_connecting_with_asyncio_costs_no_round_trip_of_its_own(
    server: Server, settings: dict[str, Any]
) -> None:
    classes: list[Any] = [redis.asyncio.Connection, connage.asyncio.Connection]
    trips: list[list[int]] = [[], []]
    for number in [0, 1] * 3:
        relay = Relay(server.port)
        extra: dict[str, Any] = {"maxage": "5m"} if number else {}
        connection: Any = classes[number](host="127.0.0.1", port=relay.port, **settings, **extra)
        await connection.connect()
        trips[number].append(relay.round_trips)
        await connection.disconnect()
        relay.close()
    print(f"\n{settings}: {trips}")
    assert min(trips[0]) == min(trips[1]) > 0


# The example.


@pytest.fixture
def default_port() -> Iterator[int]:
    """The port of the README's example, of which there is but one."""
    with Path(tempfile.gettempdir(), "connage-py-6379.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", 6379))
            except OSError:
                missing("port 6379, which the example uses, is taken")
        yield 6379


def test_the_readmes_example_works_as_it_stands(default_port: int) -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    example = readme.split("```python\n")[1].split("```")[0]
    assert "connage.ConnectionPool(max_connections=100, maxage=300000)" in example
    with running(RECENT, port=default_port):
        names: dict[str, Any] = {}
        exec(example, names)
        assert names["r"].ping()
        assert use(names["pool"]).connage_life.told_by_server
        names["pool"].disconnect()
