"""The .deb as an operator meets it: in a fresh Debian, beside Debian's own servers."""

import re
import unittest

from debian import HERE, MODULE, PACKAGES, Client, Load, Root, Server, wait_for

DEB = next(PACKAGES.glob("connage_*_amd64.deb"))
VERSION = DEB.name.split("_")[1].removesuffix("-1")
PREVIOUS = next((PACKAGES / "previous").glob("connage_*_amd64.deb"))


def readme_line():
    """The line of the README's that loads the module with a limit."""
    line = re.search(r"^loadmodule .*connage.* maxage .*$", (HERE / "README.md").read_text(), re.M).group()
    assert MODULE in line, line
    return line


def number(version):
    """As the server knows versions: 1.2.3 is 10203."""
    major, minor, patch = map(int, version.split("."))
    return major * 10_000 + minor * 100 + patch


def loaded_version(client):
    modules = [dict(zip(module[::2], module[1::2])) for module in client.ask("MODULE", "LIST")]
    return next(module["ver"] for module in modules if module["name"] == "connage")


class Packages:
    """What holds on each Debian; a subclass says which."""

    suite = None

    @classmethod
    def setUpClass(cls):
        cls.root = Root(cls.suite)
        cls.addClassCleanup(cls.root.remove)
        cls.root.install(DEB)

    def server(self, name, lines):
        server = Server(self.root, name)
        self.addCleanup(server.configure, "")
        self.addCleanup(server.stop)
        server.configure(lines)
        return server

    def for_each_server(self):
        """The servers' names, and what one of them left is cleaned up before the next."""
        for name in "redis", "valkey":
            print(f"\n## {self.suite}, {name}")
            yield name
            self.doCleanups()

    def evicts(self):
        client, watcher = Client(), Client()
        identity = client.ask("CLIENT", "ID")
        self.assertEqual(client.socket.recv(1), b"", "anything but a clean end")
        entry = wait_for("the entry in the log", lambda: self.logged(identity), seconds=10)
        self.assertGreaterEqual(entry["age-ms"], entry["limit-ms"])
        self.assertEqual(entry["how"], "quiet")
        watcher.close()

    @staticmethod
    def logged(identity):
        client = Client()
        entries = [dict(zip(entry[::2], entry[1::2])) for entry in client.ask("CONNAGE.LOG", "GET", "100")]
        client.close()
        return next((entry for entry in entries if entry["id"] == identity), None)

    def test_a_server_with_the_readmes_line_evicts(self):
        for name in self.for_each_server():
            self.server(name, readme_line()).start()
            client = Client()
            self.assertEqual(loaded_version(client), number(VERSION))
            client.ask("CONFIG", "SET", "connage.maxage", "1s")
            self.evicts()

    def test_it_lies_where_the_servers_packages_look_for_modules(self):
        for name in self.for_each_server():
            self.server(name, f"loadmodule /usr/lib/{name}/modules/connage.so maxage 1s").start()
            self.evicts()

    def test_each_line_of_the_example_configuration_is_taken(self):
        example = (self.root.path / "usr/share/doc/connage/examples/connage.conf").read_text()
        lines = [line.removeprefix("# ") for line in example.splitlines() if re.match(r"(# )?(connage\.|loadmodule /)", line)]
        self.assertGreater(len(lines), 5)
        for name in self.for_each_server():
            self.server(name, "\n".join(lines)).start()
            self.assertEqual(Client().info()["connage_maxage_ms"], "3600000")

    def test_included_it_is_loaded_twice_once_the_server_has_rewritten_its_configuration(self):
        for name in self.for_each_server():
            example = self.root.path / "tmp/included.conf"
            example.write_text(f"loadmodule {MODULE}\n")
            server = self.server(name, "include /tmp/included.conf").start()
            self.assertEqual(Client().ask("CONFIG", "REWRITE"), "OK")
            server.stop()
            self.assertFalse(server.starts(), "then the example's warning can go")

    def test_the_servers_units_let_them_run_code_from_where_the_module_lies(self):
        for name in self.for_each_server():
            found = list(self.root.path.glob(f"usr/lib/systemd/system/{name}-server*.service"))
            found += self.root.path.glob(f"lib/systemd/system/{name}-server*.service")
            self.assertTrue(found)
            for unit in found:
                text = unit.read_text()
                if "NoExecPaths" in text:
                    allowed = re.search(r"^ExecPaths=(.*)$", text, re.M).group(1).split()
                    self.assertIn("/usr/lib", allowed, unit.name)

    def test_it_is_not_removed_while_a_configuration_loads_it_and_then_leaves_a_server_that_starts(self):
        for name in self.for_each_server():
            self.addCleanup(self.root.install, DEB)
            server = self.server(name, f"loadmodule {MODULE} maxage 1h jitter 20")
            refused = self.root.run("apt-get", "-qq", "-y", "remove", "connage", check=False)
            self.assertNotEqual(refused.returncode, 0)
            self.assertIn(f"/etc/{name}/{name}.conf", refused.stdout)
            self.assertTrue(server.starts())
            server.configure("")
            self.root.run("apt-get", "-qq", "-y", "purge", "connage")
            self.assertFalse((self.root.path / MODULE[1:]).exists())
            left = self.root.run("find", "/usr", "/etc", "/var/lib", "-path", "/var/lib/dpkg", "-prune", "-o", "-name", "*connage*", "-print")
            self.assertEqual(left.stdout, "")
            self.assertTrue(server.starts())

    def test_it_is_removed_all_the_same_if_asked_to(self):
        self.addCleanup(self.root.install, DEB)
        self.server("redis", f"loadmodule {MODULE}")
        self.root.run("apt-get", "-qq", "-y", "remove", "connage", CONNAGE_IN_USE="ignore")
        self.assertFalse((self.root.path / MODULE[1:]).exists())

    def test_it_is_upgraded_under_load_by_a_restart(self):
        """The steps of docs/install.md."""
        before = PREVIOUS.name.split("_")[1].removesuffix("-1")
        for name in self.for_each_server():
            self.addCleanup(self.root.install, DEB)
            self.root.run("dpkg", "--install", self.copied(PREVIOUS))
            server = self.server(name, f"loadmodule {MODULE} maxage 500ms jitter 20").start()
            self.assertEqual(loaded_version(Client()), number(before))
            Client().ask("DEL", "a", "b", "c")
            loads = [Load(key) for key in "abc"]
            for load in loads:
                load.start()
            wait_for("evictions", lambda: all(load.connections > 3 for load in loads))

            self.root.install(DEB)
            so_far = [load.connections for load in loads]
            wait_for("evictions by what runs on", lambda: all(l.connections > s + 3 for l, s in zip(loads, so_far)))
            self.assertEqual(loaded_version(Client()), number(before), "what runs is not touched")

            server.stop()
            server.start()
            so_far = [load.connections for load in loads]
            wait_for("evictions by the new one", lambda: all(l.connections > s + 3 for l, s in zip(loads, so_far)))
            self.assertEqual(loaded_version(Client()), number(VERSION))
            for load in loads:
                load.end()
                counted = int(Client().ask("GET", load.key))
                # The restart may take the answer to the command that it interrupts; evictions take none.
                self.assertLessEqual(load.acknowledged, counted)
                self.assertLessEqual(counted, load.acknowledged + 1)

    def copied(self, package):
        (self.root.path / "tmp" / package.name).write_bytes(package.read_bytes())
        return f"/tmp/{package.name}"


class Debian12(Packages, unittest.TestCase):
    suite = "bookworm"


class Debian13(Packages, unittest.TestCase):
    suite = "trixie"
