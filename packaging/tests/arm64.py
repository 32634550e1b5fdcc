"""The module for arm64 in Debian's redis-server for arm64, under qemu-user. packaging/arm64.sh prepares it."""

import os
import re
import subprocess
import tempfile
import unittest

from debian import PACKAGES, Client, wait_for

MODULE = PACKAGES / "build/aarch64/libconnage.so"
REDIS = os.environ["REDIS"]


class Arm64(unittest.TestCase):
    def test_it_asks_for_no_newer_libc_than_debian_11s(self):
        said = subprocess.run(["readelf", "--dyn-syms", "--wide", MODULE], check=True, text=True, stdout=subprocess.PIPE)
        versions = [tuple(map(int, version.split("."))) for version in re.findall(r"GLIBC_([0-9.]+)", said.stdout)]
        self.assertTrue(versions)
        self.assertLessEqual(max(versions), (2, 31))
        self.assertLess(MODULE.stat().st_size, 1_000_000)

    def test_it_loads_and_evicts(self):
        with tempfile.TemporaryDirectory() as folder:
            server = subprocess.Popen(
                ["qemu-aarch64-static", "-L", REDIS, f"{REDIS}/usr/bin/redis-server"]
                + ["--dir", folder, "--save", "", "--loadmodule", MODULE, "maxage", "1s"]
            )
            self.addCleanup(server.wait)
            self.addCleanup(server.terminate)

            def answers():
                self.assertIsNone(server.poll())
                try:
                    return Client().ask("PING") == "PONG"
                except (OSError, EOFError):
                    return False

            wait_for("the server to answer", answers, seconds=300)
            self.assertIn("aarch64", Client().ask("INFO", "server"))
            self.assertEqual(Client().socket.recv(1), b"", "anything but a clean end")
            info = Client().info()
            self.assertGreaterEqual(int(info["connage_evicted_quiet"]), 1)
            self.assertEqual(info["connage_healthy"], "1")


if __name__ == "__main__":
    unittest.main()
