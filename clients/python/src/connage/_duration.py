"""Durations, as the module's settings and commands read them."""

from __future__ import annotations

import re
import warnings
from datetime import timedelta
from typing import Any, Callable, Union

Duration = Union[int, str, timedelta]
"""A whole number of milliseconds, a word such as ``"5m"``, or a :class:`~datetime.timedelta`."""

LONGEST_MS = 2**63 - 1
"""What the server can hold, in milliseconds."""

_UNIT_MS = {"": 1, "ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_WORD = re.compile(r"([0-9]+)([a-z]*)\Z", re.ASCII | re.IGNORECASE)
_ACCEPTED = (
    "whole milliseconds, a whole number with ms, s, m, h or d (300000 = 300s = 5m), or a timedelta"
)


def milliseconds(duration: Duration, name: str = "maxage") -> int:
    """The duration in milliseconds.

    Raises :class:`ValueError`, which names the setting and the word and says what is
    accepted, for anything else: negative, fractional, too long, or with another suffix.
    """
    ms = _read(duration)
    if ms is None or ms < 0:
        raise ValueError(f"{name}: {duration!r} is not a duration: give {_ACCEPTED}")
    if ms > LONGEST_MS:
        raise ValueError(
            f"{name}: {duration!r} is too long a duration: give at most {LONGEST_MS} milliseconds"
        )
    return ms


def percent(value: int | str, name: str = "maxage_jitter") -> int:
    """A whole number from 0 to 90, as the module's ``jitter``; :class:`ValueError` for others."""
    number = value
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,2}", value, re.ASCII):
        number = int(value)
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= 90:
        raise ValueError(f"{name}: {value!r} is not a percentage: give a whole number from 0 to 90")
    return number


_BOOLEANS = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}


def yes_or_no(value: bool | str, name: str) -> bool:
    """A bool, or a word as in a URL; :class:`ValueError` for others."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in _BOOLEANS:
        return _BOOLEANS[value.lower()]
    raise ValueError(f"{name}: {value!r} is neither yes nor no: give True or False")


def read(reader: Callable[[Any, str], Any], value: Any, name: str) -> Any:
    """What the reader makes of a value; ``None`` of none."""
    return None if value is None else reader(value, name)


def warn_of_seconds(maxage: object, depth: int = 1) -> None:
    """Other pools count seconds: a bare number that is less than a second was hardly meant so."""
    bare = isinstance(maxage, int) or (isinstance(maxage, str) and maxage.isdecimal())
    if bare and 0 < int(str(maxage)) < 1000:
        warnings.warn(
            f"maxage={maxage!r} is {maxage} milliseconds, less than a second: "
            f'give "{maxage}s" for seconds, or "{maxage}ms" if it was meant so',
            stacklevel=2 + depth,
        )


def _read(duration: object) -> int | None:
    if isinstance(duration, bool):
        return None
    if isinstance(duration, int):
        return duration
    if isinstance(duration, timedelta):
        ms, rest = divmod(duration, timedelta(milliseconds=1))
        return None if rest else ms
    word = _WORD.match(duration) if isinstance(duration, str) else None
    if word is None or word[2].lower() not in _UNIT_MS:
        return None
    return int(word[1][:40]) * _UNIT_MS[word[2].lower()]
