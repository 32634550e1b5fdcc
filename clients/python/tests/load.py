"""16 threads, or 50 tasks, flat out for a minute, with random cancellation and callbacks that
raise, without retries: prints what happened, and fails if a reply was another's.

    load.py threads|tasks SECONDS [PROTOCOL [SERVER]]
"""

from __future__ import annotations

import asyncio
import random
import sys
import threading
import time
from collections import Counter
from typing import Any

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry
from servers import running

import connage

SETTINGS: dict[str, Any] = {
    "maxage": "1s",
    "maxage_jitter": 50,
    "maxage_refresh": "20ms",
    "max_connections": 24,
}


class OwnError(Exception):
    pass


def raising(*_: Any, **__: Any) -> Any:
    raise OwnError


class Tally:
    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.unexpected: list[str] = []

    def compare(self, got: Any, wanted: Any) -> None:
        self.counts["commands"] += len(wanted) if isinstance(wanted, list) else 1
        if got != wanted:
            self.counts["wrong replies"] += 1
            print("wrong:", got, "in place of", wanted, file=sys.stderr)

    def failed(self, error: BaseException) -> None:
        if isinstance(error, (OwnError, asyncio.TimeoutError)):
            self.counts["raised or cancelled"] += 1
        elif isinstance(error, redis.RedisError):
            self.counts["redis errors"] += 1
        else:
            self.unexpected.append(repr(error))


def pipeline_of(client: Any, words: list[str], raises: bool) -> Any:
    pipeline = client.pipeline(transaction=random.random() < 0.3)
    if raises:
        pipeline.incr("raises")
    for word in words:
        pipeline.echo(word)
    return pipeline


def words_of(who: int, n: int) -> list[str]:
    return [f"{who}:{n}:{part}" for part in range(random.randint(2, 20))]


def in_threads(pool: Any, end: float, tally: Tally) -> None:
    client: Any = redis.Redis(connection_pool=pool)
    client.set_response_callback("INCRBY", raising)

    def work(who: int) -> None:
        n = 0
        while time.monotonic() < end:
            n += 1
            words = words_of(who, n)
            try:
                tally.compare(client.echo(words[0]), words[0].encode())
                raises = random.random() < 0.05
                got = pipeline_of(client, words, raises).execute()
                tally.compare(got, [word.encode() for word in words])
            except Exception as error:
                tally.failed(error)

    threads = [threading.Thread(target=work, args=(who,)) for who in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pool.disconnect()


async def in_tasks(pool: Any, end: float, tally: Tally) -> None:
    client: Any = redis.asyncio.Redis(connection_pool=pool)
    client.set_response_callback("INCRBY", raising)

    async def once(words: list[str]) -> None:
        tally.compare(await client.echo(words[0]), words[0].encode())
        raises = random.random() < 0.05
        got = await pipeline_of(client, words, raises).execute()
        tally.compare(got, [word.encode() for word in words])

    async def work(who: int) -> None:
        n = 0
        while time.monotonic() < end:
            n += 1
            cancels = random.random() < 0.05
            try:
                timeout = random.random() * 0.02 if cancels else None
                await asyncio.wait_for(once(words_of(who, n)), timeout)
            except Exception as error:
                tally.failed(error)

    await asyncio.gather(*(work(who) for who in range(50)))
    await pool.disconnect()


def main(kind: str, seconds: float, protocol: str = "2", name: str = "valkey-9.1") -> int:
    tally = Tally()
    settings = {"protocol": int(protocol), **SETTINGS}
    with running(name) as server:
        server.configure(maxage="900ms", jitter=50)
        end = time.monotonic() + seconds
        if kind == "threads":
            pool: Any = connage.BlockingConnectionPool(
                port=server.port, retry=Retry(NoBackoff(), 0), **settings
            )
            in_threads(pool, end, tally)
        else:
            pool = connage.asyncio.BlockingConnectionPool(
                port=server.port, retry=AsyncRetry(NoBackoff(), 0), **settings
            )
            asyncio.run(in_tasks(pool, end, tally))
        stats = pool.connage_stats()
    hiredis = "without" if redis.utils.HIREDIS_AVAILABLE is False else "with"
    print(
        f"redis-py {redis.__version__} {hiredis} hiredis, RESP{protocol}, {kind}: {dict(tally.counts)}, "
        f"retired {stats.retired}, evicted {stats.evicted}, unexpected {tally.unexpected[:3]}"
    )
    return bool(tally.counts["wrong replies"] or tally.unexpected or not stats.retired)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], float(sys.argv[2]), *sys.argv[3:]))
