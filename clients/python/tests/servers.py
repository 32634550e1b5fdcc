"""Real servers for the tests: each on ports of its own, gone when its test is over."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import pytest
import redis

ROOT = Path(__file__).resolve().parents[3]
MODULE = Path(os.environ.get("CONNAGE_MODULE", ROOT / "target/release/libconnage.so"))
SERVERS = Path(os.environ.get("CONNAGE_SERVERS", ROOT / ".servers"))

Found = TypeVar("Found")


def missing(reason: str) -> None:
    """Skips the test, or fails it where all of them are to run."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def eventually(look: Callable[[], Found], what: str, seconds: float = 60) -> Found:
    """What ``look`` finds, as soon as that is anything true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = look()
        if found:
            return found
        time.sleep(0.002)
    raise AssertionError(f"not within {seconds} s: {what}")


async def until(look: Callable[[], Any], what: str, seconds: float = 60) -> None:
    """As :func:`eventually`, while the tasks of asyncio go on."""
    end = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        await asyncio.sleep(0.002)


def free_port() -> int:
    """Where the kernel takes none for clients, nor for a cluster's bus, 10,000 above."""
    while True:
        port = random.SystemRandom().randrange(20_000, 22_700)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def _as_admin(connection: Any) -> None:
    """The tests' own connection: the limits that they set are not for this one."""
    connection.on_connect()
    connection.send_command("CLIENT", "NO-EVICT", "ON")
    connection.read_response()


class Server:
    def __init__(self, folder: Path, port: int, process: subprocess.Popen[bytes]) -> None:
        self.folder = folder
        self.port = port
        self.process = process
        make: Any = redis.Redis
        self.admin: Any = make(
            port=port, decode_responses=True, protocol=2, redis_connect_func=_as_admin
        )

    @property
    def socket_path(self) -> str:
        return str(self.folder / "socket")

    def info(self) -> dict[str, Any]:
        """INFO connage, without the prefix of its fields."""
        section = self.admin.info("connage")
        return {name.replace("connage_", "", 1): value for name, value in section.items()}

    @property
    def evicted(self) -> int:
        return int(self.info()["evicted_connections"])

    def configure(self, **settings: object) -> None:
        for name, value in settings.items():
            self.admin.config_set(f"connage.{name.replace('_', '-')}", value)

    def ids(self, name: str) -> set[str]:
        """Of the connections that have this name."""
        clients: list[dict[str, str]] = self.admin.client_list()
        return {client["id"] for client in clients if client["name"] == name}


@contextmanager
def running(
    name: str, *args: str, module: bool = True, settings: str = "", port: int = 0
) -> Iterator[Server]:
    """A server of that name; ``settings``: words for the module."""
    launcher = SERVERS / name / "server"
    if not launcher.exists():
        missing(f"there is no server {launcher.parent.name}")
    if module and not MODULE.exists():
        missing("the module is not built")
    port = port or free_port()
    with tempfile.TemporaryDirectory(prefix="connage-py-") as folder:
        command = [str(launcher), "--port", str(port), "--dir", folder, "--save", ""]
        command += ["--bind", "127.0.0.1", "--unixsocket", f"{folder}/socket", *args]
        if module:
            command += ["--loadmodule", str(MODULE), *settings.split()]
        log = Path(folder, "log")
        with log.open("wb") as output:
            process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        server = Server(Path(folder), port, process)

        def answers() -> bool:
            assert process.poll() is None, log.read_text(errors="replace")
            try:
                return bool(server.admin.ping())
            except redis.ConnectionError:
                return False

        try:
            eventually(answers, f"{name} answers")
            yield server
            assert process.poll() is None, log.read_text(errors="replace")
        finally:
            server.admin.close()
            process.kill()
            process.wait()


def take(pool: Any) -> Any:
    """A connection from the pool; an awaitable of one, of an asyncio pool."""
    needs_a_name = tuple(map(int, redis.__version__.split(".")[:2])) < (5, 3)
    return pool.get_connection("_") if needs_a_name else pool.get_connection()


def row(reply: Any) -> Any:
    """CONNAGE.SELF's, of RESP2 or RESP3."""
    return dict(zip(reply[::2], reply[1::2])) if isinstance(reply, list) else reply
