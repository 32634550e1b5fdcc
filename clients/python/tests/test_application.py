"""What type checkers say of an application: nothing of a right one, and of a wrong one, a word on
each line that is."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
import redis

HERE = Path(__file__).parent / "application"

CHECKERS = {
    "mypy": ["--strict", "--config-file=", "--no-incremental"],
    "pyright": ["--pythonpath", sys.executable],
}


@pytest.mark.parametrize("checker", CHECKERS)
def test_a_type_checker_accepts_what_is_right_and_refuses_what_is_wrong(checker: str) -> None:
    if redis.__version__.startswith("5."):
        pytest.skip("this redis-py has hardly any types itself")
    if importlib.util.find_spec(checker) is None:
        pytest.skip(f"there is no {checker}")
    command = [sys.executable, "-m", checker, *CHECKERS[checker], str(HERE)]
    output = subprocess.run(command, capture_output=True, text=True).stdout
    found = set(re.findall(r"(\w+)\.py:(\d+)(?::\d+)?(?: -|:) error", output))
    wrong = (HERE / "wrong.py").read_text().splitlines()
    expected = {("wrong", str(n)) for n, line in enumerate(wrong, 1) if line.endswith("# wrong")}
    assert expected
    assert found == expected, output
