"""A small application, as type checkers are to accept it."""

from datetime import timedelta

import redis

import connage


def told(retired: connage.Retired) -> None:
    print(retired.reason, retired.age_ms)


pool = connage.ConnectionPool(
    host="localhost", max_connections=10, maxage="5m", maxage_jitter=20, on_retired=told
)
blocking = connage.BlockingConnectionPool(maxage=timedelta(minutes=5), maxidle="1m", timeout=1)
from_url = connage.ConnectionPool.from_url("redis://localhost?maxage=5m")
client = redis.Redis(connection_pool=pool)
stats: connage.Stats = pool.connage_stats()
pool.retire_all()
limited = connage.connection(maxage=300_000, tell_server=False)
connection = connage.Connection(host="localhost", maxage="5m")
asynchronous = connage.asyncio.ConnectionPool(maxage="5m", maxage_tell_server=False)
retired: int = asynchronous.connage_stats().retired
