"""A service of the caller's own: it starts by itself, and ends with its process."""

import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

from .service import BASE, TOP, ServiceTest


class TestOwnService(ServiceTest):
    def environment(self, **more):
        env = {k: v for k, v in os.environ.items() if not k.startswith("CELLBLOCK_") or k == "CELLBLOCK_BIN"}
        return {**env, "PYTHONPATH": str(TOP / "python"), "TMPDIR": str(self.place), **more}

    def start(self, code, **more):
        code = "import sys, os, time\nfrom cellblock import Client, CodeExecutor, _service\n" + code
        process = subprocess.Popen(
            [sys.executable, "-c", code], env=self.environment(**more), cwd=self.place, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.stdin.close)
        self.addCleanup(process.kill)
        return process

    def gone(self, pid):
        """Wait for the end of a process that is not a child of this one."""
        try:
            fd = os.open(f"/proc/{pid}", os.O_RDONLY)
        except FileNotFoundError:
            return
        try:
            deadline = time.monotonic() + 20
            while True:
                with open("stat", opener=lambda name, flags: os.open(name, flags, dir_fd=fd)) as f:
                    if f.read().rpartition(")")[2].split()[0] in "ZX":
                        return
                self.assertLess(time.monotonic(), deadline, f"process {pid} is still there")
                time.sleep(0.02)
        except (FileNotFoundError, ProcessLookupError):
            return
        finally:
            os.close(fd)

    def test_the_first_example_needs_no_set_up(self):
        process = self.start(
            f"ex = CodeExecutor(python={BASE!r}, packages=[])\n"
            "print(ex.execute('print(6 * 7)')['output'].strip(), [s.process.pid for s in _service._running.values()][0], flush=True)\n"
        )
        answer, pid = process.stdout.readline().split()
        self.assertEqual(answer, "42")
        self.assertEqual(process.wait(30), 0)
        self.assertFalse(Path("/proc", pid).exists())  # it waits for the service's end
        self.assertEqual([p for p in os.listdir(self.place) if p.startswith("cellblock-")], [])

    def test_it_ends_with_a_process_that_is_killed(self):
        process = self.start(
            f"client = Client(python={BASE!r}, packages=[])\n"
            "session = client.session()\n"
            "session.execute('import os; os.fork() or __import__(\"time\").sleep(99)', timeout=1)\n"
            "print([s.process.pid for s in _service._running.values()][0], flush=True)\n"
            "time.sleep(99)\n"
        )
        pid = process.stdout.readline().strip()
        process.send_signal(signal.SIGKILL)
        process.wait()
        self.gone(pid)

    def test_what_a_killed_process_left_is_swept(self):
        code = f"client = Client(python={BASE!r}, packages=[])\nclient.execute('1')\nprint(list(_service._running.values())[0].folder, flush=True)\nsys.stdin.read()\n"
        killed, lives = self.start(code), self.start(code)
        left, kept = killed.stdout.readline().strip(), lives.stdout.readline().strip()
        killed.kill()
        killed.wait()
        foreign = [self.place / "cellblock-own-made", self.place / "cellblock-own-link", self.place / "cellblock-other"]
        foreign[0].mkdir()  # as one looks that is not locked yet
        foreign[1].symlink_to(left)
        foreign[2].mkdir()
        self.assertTrue(os.path.exists(left))
        third = self.start(code)
        third.stdout.readline()
        self.assertEqual([os.path.exists(left), os.path.exists(kept)], [False, True])
        self.assertEqual([p.exists() or p.is_symlink() for p in foreign], [True, True, True])
        for process in lives, third:
            process.stdin.close()
            self.assertEqual(process.wait(30), 0)
        self.assertFalse(os.path.exists(kept))

    def test_a_long_start_says_so(self):
        code = f"import logging\n_service._SILENCE = 0\n%sClient(python={BASE!r}, packages=[]).execute('1')\n"
        line = "preparing a sandbox"
        for to, before, wanted in ("file", "", 0), ("file", "logging.basicConfig(level=logging.INFO)\n", 1), ("terminal", "", 1):
            theirs, ours = os.openpty() if to == "terminal" else os.pipe()
            with open(theirs, "rb", buffering=0) as read:
                done = subprocess.run(
                    [sys.executable, "-c", "from cellblock import Client, _service\n" + code % before],
                    env=self.environment(), cwd=self.place, stderr=ours,
                )
                os.close(ours)
                said = b""
                try:
                    while chunk := read.read(4096):
                        said += chunk
                except OSError:  # what a terminal without another end says
                    pass
            self.assertEqual((done.returncode, said.count(line.encode())), (0, wanted), (to, said))

    def test_a_child_of_a_fork_does_not_keep_it(self):
        process = self.start(
            f"client = Client(python={BASE!r}, packages=[])\n"
            "client.execute('1')\n"
            "pid = [s.process.pid for s in _service._running.values()][0]\n"
            "if os.fork() == 0:\n"
            "    os.close(1); sys.stdin.read(); os._exit(0)\n"
            "print(pid, flush=True)\n"
        )
        pid = process.stdout.readline().strip()
        self.assertEqual(process.wait(30), 0)
        self.gone(pid)

    def test_one_that_died_is_started_again(self):
        process = self.start(
            f"ex = CodeExecutor(python={BASE!r}, packages=[])\n"
            "ex.execute('x = 1; open(\"f\", \"w\").write(\"kept\")', session_id='s')\n"
            "service = [s for s in _service._running.values()][0]\n"
            "service.process.kill(); service.process.wait()\n"
            "r = ex.execute('print(\"x\" in globals(), open(\"f\").read())', session_id='s')\n"
            "print(r['output'].strip(), r['error'], r['session']['lost'], flush=True)\n"
        )
        self.assertEqual(process.stdout.readline(), "False kept None True\n")
        self.assertEqual(process.wait(30), 0)

    def test_a_service_that_cannot_start_says_why(self):
        for arguments, why in (
            ("binary='/nonexistent'", "there is no program '/nonexistent'"),
            (f"python={BASE!r}, packages=['no-such-package']", "no-such-package"),
        ):
            process = self.start(f"print(CodeExecutor({arguments}).execute('1')['error'])\n")
            said = process.communicate()[0]
            self.assertIn(why, said)

    def test_packages_of_the_caller_s_virtual_environment(self):
        subprocess.run([BASE, "-m", "venv", "--without-pip", str(self.place / "venv")], check=True)
        python = self.place / "venv/bin/python"
        site = next((self.place / "venv/lib").glob("python3.*/site-packages"))
        (site / "only_here.py").write_text("answer = 42\n")
        # A library that is there and broken keeps no other code from running.
        (site / "pandas").mkdir()
        (site / "pandas/__init__.py").write_text("raise RuntimeError('broken')\n")
        code = "from cellblock import CodeExecutor\nprint(CodeExecutor().execute('import only_here; print(only_here.answer)')['output'])"
        done = subprocess.run([python, "-c", code], env=self.environment(), cwd=self.place, capture_output=True, text=True)
        self.assertEqual((done.stdout, done.stderr), ("42\n\n", ""))

    @unittest.skipUnless(os.geteuid() == 0, "only root can become somebody else")
    def test_rootless(self):
        with tempfile.TemporaryDirectory(dir="/tmp") as home:
            os.chmod(home, 0o755)
            own = Path(home, "own")
            own.mkdir()
            os.chown(own, 65534, 65534)
            # The tree of a developer may be closed to others.
            binaries = [os.environ["CELLBLOCK_BIN"], os.environ["CELLBLOCK_BIN"] + "-service"]
            Path(home, "bin").mkdir()
            subprocess.run(["cp", *binaries, str(Path(home, "bin"))], check=True)
            subprocess.run(["cp", "-r", str(TOP / "python/cellblock"), home], check=True)
            code = (
                "import os; os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
                "from cellblock import CodeExecutor\n"
                "print(CodeExecutor(python='/usr/bin/python3', packages=[]).execute('print(1)')['error'])\n"
                "ex = CodeExecutor(python='/usr/bin/python3', packages=[], without=['cgroup'])\n"
                "print(ex.execute('import os; print(6 * 7)')['output'])\n"
            )
            binary = Path(home, "bin", os.path.basename(os.environ["CELLBLOCK_BIN"]))
            env = {"PATH": "/usr/bin:/bin", "HOME": str(own), "PYTHONPATH": home, "CELLBLOCK_BIN": str(binary), "TMPDIR": str(own), "CELLBLOCK_RUNTIME_DIR": str(own / "run")}
            done = subprocess.run(["/usr/bin/python3", "-c", code], env=env, cwd=own, capture_output=True, text=True)
            refused, _, output = done.stdout.partition("\n")
            self.assertIn("cgroup", refused, done.stderr)
            self.assertEqual((output.strip(), done.stderr), ("42", ""))


if __name__ == "__main__":
    unittest.main()
