"""The service that the tests of this interpreter share: a real one, with cells.

It is the one that the package starts by itself, with this interpreter as the
root's Python. Where it cannot run, tests are skipped, or fail with
REQUIRE_ALL=1.
"""

import atexit
import importlib.util
import os
import shutil
import sys
import tempfile
import unittest
from pathlib import Path

from cellblock import Client

BASE = getattr(sys, "_base_executable", sys.executable)  # not that of a virtual environment
TOP = Path(__file__).resolve().parents[2]
os.environ.setdefault("CELLBLOCK_BIN", str(TOP / "bin/cellblock"))
for name in ("CELLBLOCK_URL", "CELLBLOCK_SOCKET", "CELLBLOCK_TOKEN"):
    os.environ.pop(name, None)

HAS_PANDAS = all(importlib.util.find_spec(name) for name in ("numpy", "pandas", "matplotlib"))
PANDAS = ("numpy", "pandas", "matplotlib")
if os.environ.get("REQUIRE_ALL") == "1" and sys.prefix == "/usr" and not HAS_PANDAS:
    raise AssertionError("REQUIRE_ALL=1, and pandas or matplotlib is not installed")

_clients = {}


def missing():
    """Why no service can be started here, or ""."""
    if os.geteuid() != 0:
        return "not root"
    if not shutil.which(os.environ["CELLBLOCK_BIN"]):
        return f"{os.environ['CELLBLOCK_BIN']} is not built"
    return ""


def client(packages=()):
    """The client of the shared service whose root has these packages, started at first use."""
    if packages not in _clients:
        why = missing()
        if why and os.environ.get("REQUIRE_ALL") == "1":
            raise AssertionError(f"REQUIRE_ALL=1, and {why}")
        if why:
            raise unittest.SkipTest(why)
        _clients[packages] = Client(python=BASE, packages=packages)
        atexit.register(_clients[packages].close)
    return _clients[packages]


class ServiceTest(unittest.TestCase):
    """A test with a service and a scratch directory."""

    packages = ()  # of the root

    @classmethod
    def setUpClass(cls):
        cls.client = client(cls.packages)

    def setUp(self):
        place = tempfile.TemporaryDirectory()
        self.addCleanup(place.cleanup)
        self.place = Path(place.name).resolve()

    def session(self, **options):
        session = self.client.session(**options)
        self.addCleanup(session.close)
        return session

    def output(self, result):
        self.assertTrue(result["success"], result["error"])
        return result["output"]
