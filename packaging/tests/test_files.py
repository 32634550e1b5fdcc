"""What is in target/package: complete, small, for old systems, and the same wherever it is built."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
import unittest
from pathlib import Path

from debian import HERE, PACKAGES

MODULE = PACKAGES / "build/x86_64/libconnage.so"
OLDEST_LIBC = (2, 31)  # Debian 11's
LARGEST = 1_000_000


def said(*command, **options):
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE, **options).stdout


def made():
    """Whatever SHA256SUMS names, with its sum."""
    lines = (PACKAGES / "SHA256SUMS").read_text().splitlines()
    return {name: total for total, name in (line.split("  ") for line in lines)}


class Files(unittest.TestCase):
    def test_sums_are_right_and_nothing_lacks_one(self):
        files = made()
        for name, total in files.items():
            self.assertEqual(hashlib.sha256((PACKAGES / name).read_bytes()).hexdigest(), total, name)
        there = {path.name for path in PACKAGES.iterdir() if path.is_file()} - {"SHA256SUMS"}
        self.assertEqual(there, set(files))
        for kind in ".deb", ".rpm", "x86_64.tar.gz", "x86_64-debug.tar.gz", ".whl", ".cdx.json":
            self.assertTrue([name for name in files if name.endswith(kind)], kind)

    def test_the_module_asks_for_no_newer_libc_than_debian_11s(self):
        versions = re.findall(r"GLIBC_([0-9.]+)", said("objdump", "-T", MODULE))
        self.assertTrue(versions)
        newest = max(tuple(map(int, version.split("."))) for version in versions)
        self.assertLessEqual(newest, OLDEST_LIBC)
        asked = re.search(r"libc6 \(>= ([0-9.]+)\)", said("dpkg-deb", "-f", self.one("*_amd64.deb"), "Depends")).group(1)
        self.assertGreaterEqual(tuple(map(int, asked.split("."))), newest)
        provided = re.search(r"GLIBC_([0-9.]+)", said("rpm", "-qp", "--requires", self.one("*.x86_64.rpm"))).group(1)
        self.assertGreaterEqual(tuple(map(int, provided.split("."))), newest)

    def test_the_module_is_small_and_stripped_and_its_symbols_are_apart(self):
        self.assertLess(MODULE.stat().st_size, LARGEST)
        sections = said("readelf", "--section-headers", "--wide", MODULE)
        self.assertNotRegex(sections, r"\.symtab|\.debug_")
        identity = re.search(r"Build ID: ([0-9a-f]{40})", said("readelf", "--notes", MODULE)).group(1)
        symbols = said("tar", "-tf", self.one("*x86_64-debug.tar.gz"))
        self.assertIn(f"/usr/lib/debug/.build-id/{identity[:2]}/{identity[2:]}.debug", symbols)
        lines = said("readelf", "--debug-dump=decodedline", MODULE.with_suffix(".so.debug"))
        self.assertIn("pacemaker.rs", lines)

    def test_nothing_tells_where_it_was_built(self):
        home = str(Path.home()).encode()
        for path in MODULE, MODULE.with_suffix(".so.debug"), self.one("*.cdx.json"):
            content = path.read_bytes()
            self.assertNotIn(str(HERE).encode(), content, path.name)
            self.assertNotIn(home, content, path.name)

    def test_each_crate_that_is_linked_in_has_its_licence_and_is_in_the_sbom(self):
        tree = said("cargo", "tree", "--locked", "--edges", "normal,no-proc-macro", "--prefix", "none", cwd=HERE)
        linked = set(re.findall(r"^([\w-]+) v([\w.+-]+)", tree, re.M))
        self.assertGreater(len(linked), 10)
        bom = json.loads(self.one("*.cdx.json").read_text())
        self.assertEqual((bom["bomFormat"], bom["specVersion"]), ("CycloneDX", "1.5"))
        listed = {(part["name"], part["version"]) for part in bom["components"] + [bom["metadata"]["component"]]}
        self.assertEqual(linked - listed, set())
        licences = said("tar", "-xOf", self.one("*x86_64.tar.gz"), "--wildcards", "*/third-party.txt")
        ours = {name for name, _ in linked if name.startswith("connage")}
        for name, version in linked:
            if name not in ours:
                self.assertIn(f"    {name} {version}\n", licences)

    def test_built_in_another_folder_all_of_it_is_byte_for_byte_the_same(self):
        with tempfile.TemporaryDirectory(prefix="connage elsewhere ", dir=PACKAGES) as folder:
            there = Path(folder) / "deeper/connage"
            there.mkdir(parents=True)
            # What somebody likes for builds of their own, cargo finds in folders above.
            likes = Path(folder) / ".cargo/config.toml"
            likes.parent.mkdir()
            likes.write_text('[build]\nrustflags = ["-Ctarget-cpu=native"]\n')
            for name in said("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=HERE).split("\0"):
                if name and (HERE / name).exists():
                    (there / name).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy2(HERE / name, there / name)
            # No tool and no library is fetched again, but none lies at the same path either.
            (there / ".tools").mkdir()
            for tool in "cargo", "python":
                (there / ".tools" / tool).symlink_to(HERE / ".tools" / tool)
            shutil.copytree(HERE / ".tools/sysroot-x86_64", there / ".tools/sysroot-x86_64", symlinks=True)
            with tarfile.open(self.one("*x86_64.tar.gz")) as archive:
                date = next(iter(archive)).mtime
            environment = {**os.environ, "SOURCE_DATE_EPOCH": str(date)}
            for step in "packaging/build.sh", "packaging/package.sh":
                subprocess.run([step], cwd=there, env=environment, check=True, stdout=subprocess.DEVNULL)
            again = (there / "target/package/SHA256SUMS").read_text().splitlines()
        here = [f"{total}  {name}" for name, total in made().items() if "aarch64" not in name and "arm64" not in name]
        self.assertEqual(again, here)

    def one(self, pattern):
        found = list(PACKAGES.glob(pattern))
        self.assertEqual(len(found), 1, pattern)
        return found[0]
