from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from servers import ROOT, Server, running

TABLE = (ROOT / "scripts/servers.txt").read_text().splitlines()
OURS = [line.split()[0] for line in TABLE if "python" in line.split("#")[0].split()]
NAMES = os.environ.get("CONNAGE_TEST_SERVERS", " ".join(OURS)).split()


@pytest.fixture(scope="session", params=NAMES)
def with_module(request: pytest.FixtureRequest) -> Iterator[Server]:
    with running(request.param) as server:
        yield server


@pytest.fixture
def server(with_module: Server) -> Server:
    """A server with the module, as if just started."""
    with_module.admin.flushall()
    with_module.configure(maxage=0, jitter=0, rules="", grace="5s")
    with_module.admin.execute_command("CONNAGE.CONFIG", "RESETSTAT")
    return with_module


@pytest.fixture(scope="session")
def bare() -> Iterator[Server]:
    """A server without the module."""
    with running(NAMES[-1], module=False) as server:
        yield server
