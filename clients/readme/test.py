#!/usr/bin/env python3
"""Runs what the README has for each client library, on real servers: with the module, through
evictions, and without it. Each program here contains the README's block word for word, and
works through it all: it goes on, and every command that it had an answer for was executed once.

  clients/readme/test.py [client …]       (all, where none is named)

Go and Maven are used where they are, and where the registries of their modules can be reached;
otherwise these two are named as not run. The others fail then, where CI is set.

CONNAGE_MODULE: the module; CONNAGE_TEST_SERVERS: names, with blanks between.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
MODULE = Path(os.environ.get("CONNAGE_MODULE", ROOT / "target/release/libconnage.so"))
SERVERS = os.environ.get("CONNAGE_TEST_SERVERS", "redis-7.0 valkey-9.1").split()
BUILT = ROOT / "target/clients"
# As the README's lines say.
ASKED_FOR_MS = 10 * 60 * 1000
PATIENCE = 60.0

# Which program has which block: by the name that the block's first line begins with.
PROGRAMS = {
    "node-redis": "node/node-redis.js",
    "ioredis": "node/ioredis.js",
    "redis-rs": "rust/src/main.rs",
    "go-redis": "go/main.go",
    "Jedis": "java/Limited.java",
}


def squeezed(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.strip().splitlines()]


def blocks() -> dict[str, list[str]]:
    """The README's blocks of code for client libraries."""
    fenced = re.findall(r"^```(?:js|rust|go|java)\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)
    named = {}
    for block in map(squeezed, fenced):
        name = block[0].removeprefix("//").replace(":", " ").replace(",", " ").split()[0]
        assert name in PROGRAMS, f"the README has a block that nobody runs: {block}"
        named[name] = block
    return named


def has_the_readmes_words(name: str) -> None:
    block = blocks().get(name)
    assert block, "the README has no block for it"
    program = squeezed((HERE / PROGRAMS[name]).read_text())
    found = any(program[at : at + len(block)] == block for at in range(len(program)))
    assert found, "the README has:\n" + "\n".join(block) + f"\nand {PROGRAMS[name]} has not"


# ------------------------------------------------------------------------------ programs


def can(*command: str, cwd: Path) -> bool:
    """Whether this works: the registry of what a program needs may be out of reach."""
    return subprocess.run(command, cwd=cwd, capture_output=True).returncode == 0


def node(name: str) -> list[str] | None:
    if not shutil.which("npm"):
        return None
    subprocess.run(["npm", "ci", "--silent"], cwd=HERE / "node", check=True)
    return ["node", str(HERE / PROGRAMS[name])]


def rust() -> list[str] | None:
    command = ["cargo", "build", "--quiet", "--locked", "--release", "--target-dir", str(BUILT)]
    subprocess.run(command, cwd=HERE / "rust", check=True)
    return [str(BUILT / "release/connage-readme")]


def go() -> list[str] | None:
    if not shutil.which("go") or not can("go", "mod", "download", cwd=HERE / "go"):
        return None
    subprocess.run(["go", "build", "-mod=mod", "-o", str(BUILT / "go-redis"), "."], cwd=HERE / "go", check=True)
    return [str(BUILT / "go-redis")]


def java() -> list[str] | None:
    """JEDIS_CLASSPATH: where Jedis and what it needs are, instead of Maven's repository."""
    path = os.environ.get("JEDIS_CLASSPATH")
    if not path:
        listed = BUILT / "classpath"
        resolve = ["mvn", "-q", "-B", "dependency:build-classpath", f"-Dmdep.outputFile={listed}"]
        if not shutil.which("mvn") or not can(*resolve, cwd=HERE / "java"):
            return None
        path = listed.read_text().strip()
    if not shutil.which("javac"):
        return None
    command = ["javac", "-cp", path, "-d", str(BUILT / "java"), str(HERE / PROGRAMS["Jedis"])]
    subprocess.run(command, check=True)
    return ["java", "-cp", f"{BUILT / 'java'}:{path}", "Limited"]


# ------------------------------------------------------------------------------- servers


class Admin:
    """Speaks RESP2 to a server: words there, what they answer back."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.file = self.socket.makefile("rb")
        # The limits that the tests set are not for this connection.
        self("CLIENT", "NO-EVICT", "ON")

    def __call__(self, *words: object):
        parts = [str(word).encode() for word in words]
        self.socket.sendall(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts))
        return self.reply()

    def reply(self):
        line = self.file.readline()
        kind, rest = line[:1], line[1:].strip().decode()
        if kind == b"*":
            return [self.reply() for _ in range(int(rest))]
        if kind == b"$":
            return None if rest == "-1" else self.file.read(int(rest) + 2)[:-2].decode(errors="replace")
        assert kind in (b"+", b":"), f"the server says {line!r}"
        return int(rest) if kind == b":" else rest

    def info(self, field: str) -> int:
        return int(re.search(rf"connage_{field}:(\d+)", self("INFO", "connage"))[1])

    def limited(self) -> set[int]:
        """The connections that have asked for their limit."""
        rows = [dict(zip(row[::2], row[1::2])) for row in self("CONNAGE.LIST")]
        return {row["id"] for row in rows if row["limit-ms"] == ASKED_FOR_MS}


def eventually(look, what: str):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        found = look()
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError(f"not within {PATIENCE:.0f} s: {what}")


@contextmanager
def server(name: str, *settings: str):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="connage-clients-") as folder:
        command = [str(ROOT / ".servers" / name / "server"), "--port", str(port), "--bind", "127.0.0.1"]
        command += ["--dir", folder, "--save", "", "--logfile", f"{folder}/log"]
        process = subprocess.Popen(command + list(settings))

        def answers():
            assert process.poll() is None, Path(folder, "log").read_text(errors="replace")
            try:
                return Admin(port)
            except OSError:
                return None

        try:
            yield port, eventually(answers, f"{name} answers")
        finally:
            process.kill()
            process.wait()


@contextmanager
def running(command: list[str], port: int, admin: Admin, counted: dict[str, int]):
    """A program at its load; what it counted is there when it has ended, as it has to, well."""
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            [*command, str(port)], stdout=subprocess.PIPE, stderr=errors, text=True
        )

        def works(more: int, what: str) -> None:
            """It goes on for so many commands more."""

            def done():
                assert process.poll() is None, f"it ended {what}, with {process.returncode}"
                return int(admin("GET", "n") or 0) >= want

            want = int(admin("GET", "n") or 0) + more
            eventually(done, f"{more} commands more {what}")

        try:
            works(20, "after connecting")
            yield works
            admin("SET", "stop", "1")
            said, _ = process.communicate(timeout=PATIENCE)
            assert process.returncode == 0, f"it ended with {process.returncode}"
            counted.update((key, int(value)) for key, value in re.findall(r"(\w+)=(\d+)", said))
        except BaseException:
            errors.seek(0)
            sys.stderr.write(errors.read())
            raise
        finally:
            process.kill()
            process.wait()


def with_the_module(name: str, command: list[str]) -> str:
    counted: dict[str, int] = {}
    with server(name, "--loadmodule", str(MODULE), "maxage", "1h") as (port, admin):
        with running(command, port, admin, counted) as works:
            first = eventually(admin.limited, "a connection that has asked for its limit")
            admin("CONNAGE.KILL", "TYPE", "normal")
            works(20, "after a KILL")
            eventually(lambda: admin.limited() - first, "that the next one has asked for it too")
            admin("CONNAGE.CONFIG", "SET", "maxage", "300", "jitter", "20")
            before = admin.info("evicted_connections")
            eventually(lambda: admin.info("evicted_connections") >= before + 5, "five evictions")
            works(20, "after five evictions")
        executed = int(admin("GET", "n"))
        evicted, forced = admin.info("evicted_connections"), admin.info("evicted_forced")
        assert forced == 0, f"{forced} forced"
        assert executed == counted["acknowledged"], f"{executed} executed, {counted}"
    return f"{evicted} evictions, {executed} commands, {counted['failed']} of them not executed"


def without_the_module(name: str, command: list[str]) -> str:
    counted: dict[str, int] = {}
    with server(name) as (port, admin):
        with running(command, port, admin, counted) as works:
            for _ in range(2):
                admin("CLIENT", "KILL", "TYPE", "normal")
                works(20, "after CLIENT KILL, without the module")
        executed = int(admin("GET", "n"))
        assert executed >= counted["acknowledged"], f"{executed} executed, {counted}"
    return f"{executed} commands, {counted['failed']} failed"


def main() -> int:
    makers = {
        "node-redis": lambda: node("node-redis"),
        "ioredis": lambda: node("ioredis"),
        "redis-rs": rust,
        "go-redis": go,
        "Jedis": java,
    }
    passed = failed = skipped = 0

    def test(title: str, check, *args) -> None:
        nonlocal passed, failed
        try:
            said = check(*args)
        except (AssertionError, subprocess.SubprocessError, OSError) as error:
            failed += 1
            print(f"FAILED: {title}: {error}", flush=True)
        else:
            passed += 1
            print(f"ok: {title}" + (f": {said}" if said else ""), flush=True)

    BUILT.mkdir(parents=True, exist_ok=True)
    for client in sys.argv[1:] or PROGRAMS:
        test(f"{client}: the README's words", has_the_readmes_words, client)
        command = makers[client]()
        if command is None:
            must = client not in ("go-redis", "Jedis") and os.environ.get("CI")
            failed, skipped = failed + bool(must), skipped + (not must)
            print(f"not run: {client}: it, or the tools for it, can't be had here", flush=True)
            continue
        for name in SERVERS:
            test(f"{client} on {name}", with_the_module, name, command)
            test(f"{client} on {name}, without the module", without_the_module, name, command)
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
