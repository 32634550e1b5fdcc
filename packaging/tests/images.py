"""The images of packaging/images, run as their own commands say. packaging/images.sh makes them."""

import json
import os
import pathlib
import subprocess
import unittest

from debian import Client, wait_for

STORAGE = ["--storage-driver", "vfs", "--root", f"{os.environ['IMAGES']}/storage", "--runroot", f"{os.environ['IMAGES']}/run"]


def buildah(command, *words):
    return subprocess.run(
        ["buildah", *STORAGE, command, *words], check=True, text=True, stdout=subprocess.PIPE
    ).stdout.strip()


class Images(unittest.TestCase):
    def command(self, container):
        """What the image runs where nothing else is said."""
        return json.loads(buildah("inspect", container))["OCIv1"]["config"]["Cmd"]

    def container(self, image):
        container = buildah("from", f"localhost/connage-{image}")
        self.addCleanup(buildah, "rm", container)
        return container

    def answers(self):
        try:
            return Client().ask("PING") == "PONG"
        except (OSError, EOFError):
            return False

    def evicts(self, image, version):
        container = self.container(image)
        run = subprocess.Popen(["buildah", *STORAGE, "run", container, "--", *self.command(container)])
        self.addCleanup(run.wait)
        self.addCleanup(run.terminate)
        wait_for("the server to answer", self.answers)
        server = Client().ask("INFO", "server")
        self.assertIn(version, server)
        Client().ask("CONFIG", "SET", "connage.maxage", "1s")
        self.assertEqual(Client().socket.recv(1), b"", "anything but a clean end")
        self.assertGreaterEqual(int(Client().info()["connage_evicted_quiet"]), 1)
        try:
            Client().ask("SHUTDOWN", "NOSAVE")
        except EOFError:
            pass

    def test_redis_8_with_the_module_evicts(self):
        self.evicts("redis", "redis_version:8.")

    def test_valkey_9_with_the_module_evicts(self):
        self.evicts("valkey", "valkey_version:9.")

    def test_the_init_containers_image_copies_a_module_that_servers_can_load(self):
        container = self.container("module")
        folder = pathlib.Path(os.environ["IMAGES"]) / "modules"
        folder.mkdir(mode=0o777)
        folder.chmod(0o777)
        buildah("run", "--volume", f"{folder}:/modules", container, "--", *self.command(container))
        copied = folder / "libconnage.so"
        self.assertTrue(copied.stat().st_mode & 0o111 == 0o111, "executable for every user")
        self.assertEqual(copied.stat().st_uid, 65534)


if __name__ == "__main__":
    unittest.main()
