"""What is left of redis-py's private attributes here, and why. A test looks whether they are still
there; where one goes, that test says so before an application does."""

from __future__ import annotations

PRIVATE = {
    ("sync connection", "_connect_callbacks"): "whether a PubSub or a client-side cache keeps it",
    ("sync connection", "_host_error"): "how redis-py names the server, for logs and on_retired",
    ("sync cache", "_conn"): "the connection within, which has the limit",
    ("sync pool", "_lock"): "a client-side cache reads from idle connections while it holds this",
    ("asyncio connection", "_connect_callbacks"): "whether a PubSub keeps it",
    ("asyncio connection", "_host_error"): "as in the sync half",
    ("asyncio connection", "_reader"): "at_eof(): redis-py 5 hands out what the server has closed",
}
