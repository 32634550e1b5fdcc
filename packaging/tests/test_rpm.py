"""The .rpm, put by rpm itself into a root that has Debian's servers: none of Fedora's can be had
everywhere that this is run."""

import subprocess
import unittest

from debian import MODULE, PACKAGES, Client, Root, Server

RPM = next(PACKAGES.glob("connage-*.x86_64.rpm"))


class Rpm(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.root = Root("bookworm")
        cls.addClassCleanup(cls.root.remove)

    def rpm(self, *words, check=True):
        done = subprocess.run(
            ["rpm", "--root", self.root.path, *words], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        print(done.stdout)
        if check:
            self.assertEqual(done.returncode, 0, done.stdout)
        return done

    def test_it_installs_loads_and_is_not_removed_while_a_configuration_loads_it(self):
        # What it asks for is Debian's here, which rpm does not know of.
        self.rpm("--install", "--nodeps", RPM)
        self.rpm("--verify", "--nodeps", "connage")
        server = Server(self.root, "redis")
        self.addCleanup(server.stop)
        for path in MODULE, "/usr/lib64/redis/modules/connage.so", "/usr/lib64/valkey/modules/connage.so":
            server.configure(f"loadmodule {path} maxage 1s")
            server.start()
            client = Client()
            self.assertEqual(client.socket.recv(1), b"", "anything but a clean end")
            self.assertGreaterEqual(int(Client().info()["connage_evicted_quiet"]), 1)
            server.stop()

        refused = self.rpm("--erase", "connage", check=False)
        self.assertNotEqual(refused.returncode, 0)
        self.assertIn("/etc/redis/redis.conf", refused.stdout)
        self.assertTrue(server.starts())
        server.configure("")
        self.rpm("--erase", "connage")
        self.assertFalse((self.root.path / MODULE[1:]).exists())
        self.assertTrue(server.starts())
