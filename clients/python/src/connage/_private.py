"""What is left of redis-py's private attributes here, and why. A test looks whether they are still
there; where one goes, that test says so before an application does."""

from __future__ import annotations

try:
    from redis.observability.metrics import CloseReason
    from redis.observability.recorder import record_connection_closed
except ImportError:  # before redis-py 8

    def record_closed() -> None:
        """Tells redis-py's own metrics of a connection that was closed without redis-py."""

else:

    def record_closed() -> None:
        """Tells redis-py's own metrics of a connection that was closed without redis-py. Not of
        the reason: these have no way to name one that redis-py does not know."""
        record_connection_closed(close_reason=CloseReason.APPLICATION_CLOSE)


PRIVATE = {
    ("sync connection", "_connect_callbacks"): "whether a PubSub or a client-side cache keeps it",
    ("sync connection", "_host_error"): "how redis-py names the server, for logs and on_retired",
    ("sync connection", "_sock"): "set aside while a new one is opened, and put back if it is not",
    ("sync connection", "_connect"): "TCP and TLS, in what time a renewal has left",
    ("sync connection", "_parser"): "belongs to the socket, with what it has read",
    ("sync cache", "_conn"): "the connection within, which has the limit",
    ("sync pool", "_lock"): "a client-side cache reads from idle connections while it holds this",
    ("asyncio connection", "_connect_callbacks"): "whether a PubSub keeps it",
    ("asyncio connection", "_host_error"): "as in the sync half",
    ("asyncio connection", "_reader"): "as _sock, and at_eof(): redis-py 5 hands out what is closed",
    ("asyncio connection", "_writer"): "as _sock in the sync half",
    ("asyncio connection", "_parser"): "as in the sync half",
}
