"""packaging/publish.sh with a key of the moment, and a folder for the forge's draft."""

import os
import subprocess
import tempfile
import unittest
from pathlib import Path

from debian import HERE, PACKAGES

# Stands in for the forge's program: what is uploaded is what is downloaded next.
GH = """#!/bin/sh
set -eu
[ -z "${SIGNING_KEY:-}" ]
case $2 in
    download) cp "$DRAFT"/* "$5/" ;;
    upload) shift 5; cp "$@" "$DRAFT/" ;;
    edit) echo "$4" >"$DRAFT.edited" ;;
esac
"""


class Publish(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.at = Path(folder.name)
        for name in "keys", "draft", "bin", "clone/packaging":
            (self.at / name).mkdir(mode=0o700, parents=True)
        (self.at / "bin/gh").write_text(GH)
        (self.at / "bin/gh").chmod(0o755)
        for kind in "*.deb", "*.x86_64.rpm", "*x86_64.tar.gz", "*.whl", "*.cdx.json":
            for path in PACKAGES.glob(kind):
                (self.at / "draft" / path.name).write_bytes(path.read_bytes())
        (self.at / "clone/packaging/publish.sh").symlink_to(HERE / "packaging/publish.sh")

    def ran(self, *command, **environment):
        environment = {**os.environ, "GNUPGHOME": str(self.at / "keys"), **environment}
        return subprocess.run(command, env=environment, cwd=self.at / "draft", check=True, text=True, stdout=subprocess.PIPE).stdout

    def test_what_the_draft_has_is_signed_summed_up_and_published(self):
        self.addCleanup(self.ran, "gpgconf", "--kill", "all")
        self.ran("gpg", "--batch", "--quiet", "--passphrase", "", "--quick-generate-key", "a test", "rsa3072", "sign", "1d")
        environment = {
            "SIGNING_KEY": self.ran("gpg", "--armor", "--export-secret-keys"),
            "PATH": f"{self.at / 'bin'}:{os.environ['PATH']}",
            "DRAFT": str(self.at / "draft"),
        }
        # Once more, as after a failure in the middle.
        for _ in range(2):
            self.ran("bash", self.at / "clone/packaging/publish.sh", "v1.2.3", **environment)
        self.ran("sha256sum", "--check", "SHA256SUMS")
        self.ran("gpg", "--verify", "SHA256SUMS.asc", "SHA256SUMS")
        sums = (self.at / "draft/SHA256SUMS").read_text()
        for path in (self.at / "draft").iterdir():
            self.assertTrue(path.name in sums or path.suffix == ".asc" or path.name == "SHA256SUMS", path.name)
        (rpm,) = (self.at / "draft").glob("*.rpm")
        self.ran("rpm", "--dbpath", self.at / "rpm", "--import", "connage-signing-key.asc")
        self.assertIn("Signature", self.ran("rpm", "--dbpath", self.at / "rpm", "--checksig", "--verbose", rpm))
        self.assertEqual((self.at / "draft.edited").read_text(), "--draft=false\n")
