"""packaging/kubernetes: no Kubernetes is run, but its schemas, its settings and its preStop are."""

import time
import unittest

import kubernetes_validate
import yaml

from debian import HERE, MODULE, PACKAGES, Client, Root, Server

FOLDER = HERE / "packaging/kubernetes"
RESOURCES = list(yaml.safe_load_all((FOLDER / "statefulset.yaml").read_text()))
IN_POD = "/modules/libconnage.so"


def resource(kind):
    return next(resource for resource in RESOURCES if resource["kind"] == kind)


def pre_stop():
    (container,) = resource("StatefulSet")["spec"]["template"]["spec"]["containers"]
    return container["lifecycle"]["preStop"]["exec"]["command"]


class Kubernetes(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.root = Root("trixie")
        cls.addClassCleanup(cls.root.remove)
        cls.root.install(next(PACKAGES.glob("connage_*_amd64.deb")))
        # As the init container leaves it.
        cls.root.run("mkdir", "/modules", "/data")
        cls.root.run("cp", MODULE, IN_POD)
        cls.root.run("chown", "valkey:valkey", "/data")

    def server(self, lines):
        server = Server(self.root, "valkey")
        self.addCleanup(server.configure, "")
        self.addCleanup(server.stop)
        server.configure(lines)
        return server.start()

    def test_resources_fit_the_schemas_of_the_newest_kubernetes(self):
        self.assertEqual({each["kind"] for each in RESOURCES}, {"ConfigMap", "Service", "StatefulSet"})
        for each in RESOURCES:
            kubernetes_validate.validate(each, kubernetes_validate.latest_version(), strict=True)

    def test_a_server_takes_the_settings_of_each_example(self):
        settings = [
            resource("ConfigMap")["data"]["valkey.conf"],
            yaml.safe_load((FOLDER / "valkey-helm-values.yaml").read_text())["valkeyConfig"],
            yaml.safe_load((FOLDER / "bitnami-values.yaml").read_text())["commonConfiguration"],
        ]
        for lines in settings:
            self.server(lines)
            self.assertEqual(Client().info()["connage_maxage_ms"], "3600000")
            self.doCleanups()

    def test_pre_stop_sends_all_clients_away_and_ends_in_time(self):
        self.server(f"loadmodule {IN_POD}")
        clients = [Client() for _ in range(20)]
        for client in clients:
            client.ask("PING")
        # Valkey's own image has these programs as well.
        self.root.run(*pre_stop())
        for client in clients:
            self.assertEqual(client.socket.recv(1), b"", "anything but a clean end")
        info = Client().info()
        self.assertEqual(info["connage_draining_connections"], "0")
        self.assertEqual(info["connage_evicted_forced"], "0")

    def test_pre_stop_holds_nothing_up_without_the_module_or_a_server(self):
        self.root.run(*pre_stop())
        self.server("")
        before = time.monotonic()
        self.root.run(*pre_stop())
        # To wait for the drain takes 40 seconds where there is none.
        self.assertLess(time.monotonic() - before, 40)
