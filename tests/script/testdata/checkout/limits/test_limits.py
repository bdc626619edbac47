"""What docs/ci.md lists as what tests cannot do in a cell, row by row."""

import asyncio
import concurrent.futures.process
import ctypes
import glob
import locale
import multiprocessing
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
import unittest


def nothing():
    pass


class TestLimits(unittest.TestCase):
    def test_network(self):
        for family in socket.AF_INET, socket.AF_INET6:
            with self.assertRaisesRegex(OSError, "Address family not supported"):
                socket.socket(family)
        with self.assertRaises(OSError):
            socket.create_connection(("localhost", 80))
        a, b = socket.socketpair()
        with a, b:
            a.sendall(b"x")
            self.assertEqual(b.recv(1), b"x")
        self.assertEqual(asyncio.run(asyncio.sleep(0, 5)), 5)

    def test_programs(self):
        for program in "/bin/true", "git", "gcc", sys.executable:
            with self.assertRaises(PermissionError):
                subprocess.run([program])

    def test_multiprocessing(self):
        with self.assertRaises(OSError):
            multiprocessing.get_context("forkserver").Process(target=nothing).start()
        p = multiprocessing.get_context("spawn").Process(target=nothing)
        p.start()
        p.join()
        self.assertEqual(p.exitcode, 255)
        with self.assertRaises(concurrent.futures.process.BrokenProcessPool):
            with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
                pool.submit(int, "1").result()
        p = multiprocessing.get_context("fork").Process(target=nothing)
        p.start()
        p.join()
        self.assertEqual(p.exitcode, 0)

    def test_checkout(self):
        with self.assertRaisesRegex(OSError, "Read-only file system"):
            open("src/app.py", "w")
        with tempfile.TemporaryFile() as f, open("here", "w") as g:
            f.write(b"x")
            g.write("x")

    def test_built(self):
        library = glob.glob(os.path.join(sysconfig.get_path("stdlib"), "lib-dynload", "*.so"))[0]
        shutil.copy(library, "built.so")
        with self.assertRaises(OSError):
            ctypes.CDLL(os.path.abspath("built.so"))
        with open("built", "w") as f:
            f.write("#!/bin/sh\n")
        os.chmod("built", 0o755)
        with self.assertRaises(PermissionError):
            subprocess.run(["./built"])

    def test_environment(self):
        self.assertNotIn("CI_JOB_TOKEN", os.environ)

    def test_host(self):
        for path in "/root", "/etc/shadow", "/etc/os-release", "/sys", "/proc/2/environ/x", "/home/runner":
            with self.assertRaises((FileNotFoundError, NotADirectoryError)):
                os.stat(path)
        self.assertLess(len([p for p in os.listdir("/proc") if p.isdigit()]), 10)

    def test_missing(self):
        with self.assertRaises(ModuleNotFoundError):
            import tkinter
        with self.assertRaises(locale.Error):
            locale.setlocale(locale.LC_ALL, "de_DE.UTF-8")
        self.assertEqual(time.tzname, ("UTC", "UTC"))

    def test_threads(self):
        stop, started = threading.Event(), []
        try:
            with self.assertRaisesRegex(RuntimeError, "can't start new thread"):
                for _ in range(300):
                    thread = threading.Thread(target=stop.wait)
                    thread.start()
                    started.append(thread)
        finally:
            stop.set()
        for thread in started:
            thread.join()
        self.assertGreater(len(started), 200)

    def test_links(self):
        self.assertTrue(sys.executable.startswith(("/usr/bin/", "/opt/")), sys.executable)
        self.assertTrue(os.path.exists("src/app.py"))
        self.assertTrue(os.path.islink("src/limits/link.py"))
