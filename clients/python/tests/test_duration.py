from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

import connage


@pytest.mark.parametrize(
    ("duration", "ms"),
    [
        (0, 0),
        (300000, 300000),
        ("300000", 300000),
        ("300s", 300000),
        ("5m", 300000),
        ("5M", 300000),
        ("250ms", 250),
        ("2h", 7200000),
        ("1d", 86400000),
        (timedelta(minutes=5), 300000),
        (2**63 - 1, 2**63 - 1),
    ],
)
def test_a_duration_is_milliseconds_unless_it_says_otherwise(duration: Any, ms: int) -> None:
    assert connage.milliseconds(duration) == ms


@pytest.mark.parametrize(
    "wrong",
    [-1, 1.5, "1.5s", "", "5 m", "5w", "-5", "m", True, timedelta(microseconds=1), "٥", "5\n"],
)
def test_another_duration_is_refused_with_its_name_and_what_is_accepted(wrong: Any) -> None:
    with pytest.raises(ValueError, match="maxage") as refusal:
        connage.ConnectionPool(maxage=wrong)
    assert repr(wrong) in str(refusal.value)
    assert "300000 = 300s = 5m" in str(refusal.value)


@pytest.mark.parametrize("wrong", [2**63, "9" * 5000, "106751991168d"])
def test_a_duration_that_no_server_can_hold_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match="too long"):
        connage.asyncio.ConnectionPool(maxage=wrong)


@pytest.mark.parametrize("wrong", [-1, 91, "x", 1.5, True])
def test_a_jitter_that_is_none_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match="maxage_jitter.*0 to 90"):
        connage.connection("5m", jitter=wrong)


@pytest.mark.parametrize("jitter", [0, 10, 90])
def test_each_connection_draws_its_limit_never_later_than_maxage(jitter: int) -> None:
    policy = connage.connection(10_000, jitter=jitter).connage_policy
    drawn = [policy.draw_ms() for _ in range(2000)]
    earliest = 10_000 - 100 * jitter
    assert earliest <= min(drawn) <= earliest + 50 * jitter / 10
    assert 10_000 - 50 * jitter / 10 <= max(drawn) <= 10_000
