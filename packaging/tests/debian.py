"""A copy of a Debian root, its servers as their packages run them, and clients for these."""

import os
import pathlib
import shutil
import socket
import subprocess
import threading
import time

HERE = pathlib.Path(__file__).resolve().parents[2]
PACKAGES = HERE / "target/package"
MODULE = "/usr/lib/connage/libconnage.so"
PORT = 6379  # nobody else's: the tests have a network of their own


def wait_for(what, condition, seconds=60):
    """Until a condition holds; that it ever does is what is asserted, not how soon."""
    end = time.monotonic() + seconds
    while True:
        result = condition()
        if result:
            return result
        assert time.monotonic() < end, f"waited {seconds} s in vain for {what}"
        time.sleep(0.05)


class Root:
    """A folder with a Debian in it, which goes when the tests are over."""

    def __init__(self, suite):
        base = subprocess.run(
            [HERE / "packaging/root.sh", suite], check=True, text=True, stdout=subprocess.PIPE
        ).stdout.strip()
        self.path = PACKAGES / f"root-{suite}"
        shutil.rmtree(self.path, ignore_errors=True)
        subprocess.run(["cp", "-a", "--reflink=auto", base, self.path], check=True)

    def remove(self):
        shutil.rmtree(self.path)

    def run(self, *command, check=True, **environment):
        """Runs a command in there, as root, and hands over what it said."""
        done = subprocess.run(
            ["chroot", self.path, *command],
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive", **environment},
        )
        print(f"# {' '.join(map(str, command))}\n{done.stdout}", end="")
        if check:
            assert done.returncode == 0, f"{command} ended with {done.returncode}"
        return done

    def install(self, package):
        shutil.copy(package, self.path / "tmp")
        # Without a cache: apt takes one for current where dpkg changed a version within the same second.
        options = ["-o", "Dir::Cache::pkgcache=", "-o", "Dir::Cache::srcpkgcache="]
        return self.run("apt-get", "-qq", "-y", *options, "install", f"/tmp/{package.name}")


class Server:
    """Debian's server, started as its systemd unit does: as its own user, with its own configuration."""

    def __init__(self, root, name):
        self.root, self.name = root, name
        self.configuration = root.path / f"etc/{name}/{name}.conf"
        self.original = self.configuration.read_bytes()
        self.process = None

    def configure(self, lines):
        """The package's own configuration and these lines."""
        stat = self.configuration.stat()
        self.configuration.write_bytes(self.original + b"\n" + lines.encode() + b"\n")
        os.chown(self.configuration, stat.st_uid, stat.st_gid)

    def start(self):
        self.root.run("install", "-d", "-o", self.name, "-g", self.name, f"/run/{self.name}")
        self.process = subprocess.Popen(
            ["chroot", self.root.path, "setpriv", f"--reuid={self.name}", f"--regid={self.name}", "--init-groups"]
            + ["--", f"/usr/bin/{self.name}-server", f"/etc/{self.name}/{self.name}.conf"]
            + ["--daemonize", "no", "--supervised", "no"]
        )
        wait_for("the server to answer", self.answers_or_ended)
        return self

    def starts(self):
        """Whether it starts at all."""
        try:
            self.start()
        except AssertionError:
            return False
        self.stop()
        return True

    def answers_or_ended(self):
        assert self.process.poll() is None, f"{self.name} ended:\n{self.log()}"
        try:
            return Client().ask("PING") == "PONG"
        except (OSError, EOFError):
            return False

    def stop(self):
        if self.process:
            self.process.terminate()
            self.process.wait(60)
            self.process = None

    def log(self):
        log = self.root.path / f"var/log/{self.name}/{self.name}-server.log"
        return "".join(log.read_text(errors="replace").splitlines(True)[-15:]) if log.exists() else ""


class Client:
    """As little of a client as is wanted here."""

    def __init__(self):
        self.socket = socket.create_connection(("127.0.0.1", PORT), timeout=60)
        self.file = self.socket.makefile("rb")

    def send(self, *words):
        words = [str(word).encode() for word in words]
        self.socket.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words))

    def ask(self, *words):
        self.send(*words)
        return self.reply()

    def reply(self):
        line = self.file.readline()
        if not line:
            raise EOFError
        kind, rest = line[:1], line[1:-2].decode()
        if kind == b"-":
            raise RuntimeError(rest)
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == "-1" else self.file.read(int(rest) + 2)[:-2].decode()
        if kind == b"*":
            return [self.reply() for _ in range(int(rest))]
        return rest

    def info(self):
        lines = self.ask("INFO", "connage").splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def close(self):
        self.file.close()
        self.socket.close()


class Load(threading.Thread):
    """Counts up on one connection after another, as an application does that connects again."""

    def __init__(self, key):
        super().__init__(daemon=True)
        self.key, self.acknowledged, self.connections, self.uncertain = key, 0, 0, 0
        self.over = threading.Event()

    def run(self):
        while not self.over.is_set():
            try:
                client = Client()
            except OSError:
                time.sleep(0.05)  # the server is down
                continue
            self.connections += 1
            sent = False
            try:
                while not self.over.is_set():
                    sent = True
                    client.ask("INCR", self.key)
                    self.acknowledged += 1
                    sent = False
                    time.sleep(0.06)  # the moment's silence that quiet asks for
            except (OSError, EOFError, RuntimeError):
                self.uncertain += sent
            client.close()

    def end(self):
        self.over.set()
        self.join(60)
        assert not self.is_alive()
