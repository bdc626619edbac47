"""CodeExecutor, PersistentREPL and REPLManager: the old interface over real cells."""

import os
import time
import unittest
from pathlib import Path

from cellblock import CodeExecutor, PersistentREPL, PythonExecutor, REPLManager

from .service import ServiceTest

OLD_KEYS = {"success", "output", "error", "execution_time", "return_code", "namespace", "created_files"}


class ExecutorTest(ServiceTest):
    def executor(self, **options):
        options.setdefault("execution_base_dir", str(self.place))
        executor = CodeExecutor(client=self.client, **options)
        self.addCleanup(executor.close)
        return executor


class TestCodeExecutor(ExecutorTest):
    def test_attributes(self):
        executor = self.executor(timeout=7, max_memory_mb=256)
        self.assertIs(PythonExecutor, CodeExecutor)
        self.assertEqual(
            (executor.timeout, executor.max_memory_mb, executor.execution_base_dir, executor.use_persistent_repl),
            (7, 256, self.place, True),
        )
        self.assertIsInstance(executor.execution_base_dir, Path)
        self.assertEqual(executor.sandbox.to_dict()["timeout"], 7)
        self.assertEqual(executor.import_validator.validate("1"), (True, []))
        self.assertIsInstance(executor.repl_manager, REPLManager)
        self.assertIsNone(self.executor(use_persistent_repl=False).repl_manager)
        self.assertTrue(executor.validate_file_type("a.CSV"))
        self.assertEqual(executor.validate_imports("import socket"), (False, ["Blocked import detected: socket"]))

    def test_without_a_session_nothing_stays(self):
        executor = self.executor()
        result = executor.execute("open('made.txt', 'w').write('x'); print('Hello')")
        self.assertLessEqual(OLD_KEYS, set(result))
        self.assertEqual((result["output"], result["created_files"], result["return_code"]), ("Hello\n", ["made.txt"], 0))
        self.assertEqual(os.listdir(self.place), [])
        self.assertEqual(executor.execute("x")["return_code"], 1)

    def test_what_is_no_code_is_told(self):
        executor = self.executor()
        for session in (None, "s"):
            for code, files, told in (
                (None, None, "the code is of type NoneType"),
                (b"1", None, "the code is of type bytes"),
                ("'\ud800'", None, "no text that could be a file"),
                ("1", ["in.csv"], "input_files are of type list"),
            ):
                result = executor.execute(code, input_files=files, session_id=session)
                self.assertEqual((result["success"], result["return_code"]), (False, -1))
                self.assertIn(told, result["error"])

    def test_variables_live_on_and_can_be_fresh(self):
        executor = self.executor()
        self.output(executor.execute("x = 1", session_id="s"))
        self.assertEqual(self.output(executor.execute("print(x)", session_id="s")), "1\n")
        self.assertIn("NameError", executor.execute("x", session_id="s", fresh_namespace=True)["error"])
        old = self.executor(fresh_namespace=True)
        old.execute("x = 1", session_id="s")
        result = old.execute("x", session_id="s")
        self.assertIn("NameError", result["error"])
        self.assertEqual(result["session"], {"id": "s", "execution": 2, "lost": False})

    def test_ids_belong_to_the_executor(self):
        one, other = self.executor(), self.executor(execution_base_dir=self.place / "other")
        one.execute("secret = 1", session_id="same")
        self.assertIn("NameError", other.execute("secret", session_id="same")["error"])
        shared = [self.executor(execution_base_dir=self.place / n, share_sessions=True) for n in "ab"]
        shared[0].execute("common = 1", session_id="shared-id")
        self.assertEqual(shared[1].execute("common", session_id="shared-id")["value"], "1")

    def test_files_of_a_session(self):
        executor = self.executor()
        source = self.place / "numbers.csv"
        source.write_text("1\n2\n")
        code = "n = sum(map(int, open('in.csv')))\nopen('out/sum.txt', 'w').write(str(n))"
        result = executor.execute("import os; os.makedirs('out', exist_ok=True)\n" + code, {str(source): "in.csv"}, "s", "load")
        self.assertEqual((result["error"], result["created_files"]), (None, ["out/sum.txt"]))
        folder = self.place / "s"
        self.assertEqual((folder / "out/sum.txt").read_text(), "3")
        self.assertIn("sum.txt", (folder / "script.py").read_text())
        self.assertEqual((folder / "script_load.py").read_text(), (folder / "script.py").read_text())
        # What was put there by hand is there, also when it is large.
        (folder / "by-hand.bin").write_bytes(bytes(2 << 20))
        (folder / "config.json").write_text("{}")
        result = executor.execute("import os; print(os.path.getsize('by-hand.bin'), open('config.json').read()); os.remove('out/sum.txt')", session_id="s")
        self.assertEqual((self.output(result), result["created_files"]), ("2097152 {}\n", []))
        self.assertFalse((folder / "out").exists())
        # A changed input is copied again; one that the code changed is not.
        source.write_text("10\n")
        executor.execute(code.replace("out/", ""), {str(source): "in.csv"}, "s")
        self.assertEqual((folder / "sum.txt").read_text(), "10")
        executor.execute("open('in.csv', 'w').write('5')", {str(source): "in.csv"}, "s")
        executor.execute(code.replace("out/", ""), {str(source): "in.csv"}, "s")
        self.assertEqual((folder / "sum.txt").read_text(), "5")
        executor.cleanup_session("s")
        executor.cleanup_session("s")
        self.assertTrue((folder / "sum.txt").exists())
        self.assertEqual(self.output(executor.execute("print(open('sum.txt').read())", session_id="s")), "5\n")

    def test_files_with_hostile_names_and_kinds(self):
        executor = self.executor()
        (self.place / "s/taken").mkdir(parents=True)
        (self.place / "s/taken/mine").write_text("the caller's")
        code = """
import os
for name in ("a%2e%2e", "%2e%2e", "b\\\\..", ".cellblock-partial-x", "line\\nbreak", "-dash", "é", b"\\xff", "ok"):
    with open(name, "w") as f: f.write("x")
os.symlink("/etc/passwd", "link"); os.mkfifo("fifo")
os.remove("taken/mine"); os.rmdir("taken"); open("taken", "w").close()
deep = "/".join(["d" * 100] * 30); os.makedirs(deep); open(deep + "/f", "w").close()
"""
        with self.assertLogs("cellblock", "WARNING"):
            result = executor.execute(code, session_id="s")
        self.assertTrue(result["success"], result["error"])
        here = set(os.listdir(self.place / "s"))
        self.assertLessEqual({"line\nbreak", "-dash", "é", "ok"}, here)
        self.assertFalse(here & {"link", "fifo", "%2e%2e", ".cellblock-partial-x"})
        self.assertEqual(sorted(os.listdir(self.place)), ["s"])
        self.assertTrue(executor.execute("print(1)", session_id="s")["success"])

    def test_one_shot_keeps_files_and_no_variables(self):
        executor = self.executor(use_persistent_repl=False)
        executor.execute("x = 1; open('f', 'w').write('kept')", session_id="s")
        result = executor.execute("print(open('f').read(), 'x' in globals())", session_id="s")
        self.assertEqual(self.output(result), "kept False\n")
        self.assertEqual(self.output(executor.execute("print(1)")), "1\n")

    def test_large_input_without_a_session(self):
        source = self.place / "large"
        source.write_bytes(bytes(6 << 20))
        result = self.executor().execute("import os; print(os.path.getsize('large'))", {str(source): "large"})
        self.assertEqual(self.output(result), "6291456\n")

    def test_what_goes_wrong_is_in_the_result(self):
        executor = self.executor(timeout=1)
        for name, arguments, error in (
            ("exception", {"code": "1/0"}, "ZeroDivisionError"),
            ("time-out", {"code": "while True: pass"}, "^Execution timeout after 1 seconds$"),
            ("no such input", {"code": "1", "input_files": {"/nonexistent": "a"}}, "nonexistent"),
            ("input outside", {"code": "1", "input_files": {"/etc/hostname": "../a"}}, "invalid path"),
            ("bad id", {"code": "1", "session_id": "../x"}, "invalid session id"),
            ("bad stage", {"code": "1", "stage_name": "a.b"}, "invalid stage name"),
        ):
            for session in ({}, {"session_id": "s"}):
                with self.subTest(name, **session):
                    result = executor.execute(**{**session, **arguments})
                    self.assertLessEqual(OLD_KEYS, set(result))
                    self.assertFalse(result["success"])
                    self.assertRegex(result["error"], error)
        self.assertEqual(os.listdir(self.place), ["s"])
        down = CodeExecutor(execution_base_dir=self.place, socket="/nowhere/socket")
        for arguments in ({}, {"session_id": "s"}):
            result = down.execute("1", **arguments)
            self.assertEqual((result["success"], result["return_code"]), (False, -1))
            self.assertIn("no Cellblock service answers at unix:///nowhere/socket", result["error"])

    def test_enhanced_error_detection_is_on(self):
        result = self.executor().execute("print('Error: no such column')")
        self.assertEqual((result["success"], result["return_code"]), (False, 0))
        self.assertEqual(result["error"], "Error detected in output (code exited with 0 but printed error):\nError: no such column\n")

    def test_limits_hold(self):
        executor = self.executor(max_memory_mb=200)
        result = executor.execute("b = bytearray(200 << 20)", session_id="s")
        self.assertEqual(result["exception"]["name"], "MemoryError")
        self.assertIn("OSError", executor.execute("import socket; socket.socket()")["error"])
        self.assertIn("PermissionError", executor.execute("import subprocess; subprocess.run(['/bin/true'])")["error"])

    def test_the_caller_s_environment_stays_outside(self):
        os.environ["A_SECRET_OF_MINE"] = "x"
        self.addCleanup(os.environ.pop, "A_SECRET_OF_MINE")
        result = self.executor().execute("import os; print(sorted(k for k in os.environ if not k.startswith('OPENBLAS_')))")
        names = eval(self.output(result))
        self.assertEqual(
            names,
            ["HOME", "LANG", "MKL_NUM_THREADS", "MPLBACKEND", "MPLCONFIGDIR", "OMP_NUM_THREADS", "PATH", "TMPDIR", "TZ", "USER"],
        )

    def test_stats(self):
        executor = self.executor()
        source = self.place / "a.txt"
        source.write_text("")
        executor.execute("1", {str(source): "a.txt"}, "s")
        executor.execute("1", session_id="t")
        stats = executor.get_stats()
        self.assertEqual(set(stats), {"config", "file_cache_sessions", "repl_stats"})
        self.assertEqual((stats["config"], stats["file_cache_sessions"]), (executor.sandbox.to_dict(), 1))
        self.assertEqual(
            stats["repl_stats"],
            {"total_repls": 2, "active_repls": 2, "timeout": 30, "active_sessions": 2, "sessions": ["s", "t"]},
        )
        self.assertEqual(self.executor(use_persistent_repl=False).get_stats()["repl_stats"]["active_sessions"], 0)

    def test_a_session_that_the_service_ended_is_made_anew(self):
        executor = self.executor()
        executor.execute("x = 1; open('f', 'w').write('kept')", session_id="s")
        for info in self.client.sessions():
            self.client.attach(info["id"]).close()
        result = executor.execute("print('x' in globals(), open('f').read())", session_id="s")
        self.assertEqual((self.output(result), result["session"]["lost"]), ("False kept\n", True))


class TestREPLs(ServiceTest):
    def test_persistent_repl(self):
        repl = PersistentREPL(self.place / "made", timeout=5, client=self.client)
        self.assertFalse(repl.is_alive())
        self.assertTrue(repl.start())
        self.addCleanup(repl.stop)
        self.assertTrue(repl.is_alive())
        repl.execute("x = 2; open('f', 'w').write('x')")
        self.assertEqual(self.output(repl.execute("print(x)")), "2\n")
        self.assertEqual(os.listdir(self.place / "made"), ["f"])
        self.assertEqual(repl.execute("while True: pass")["error"], "Execution timeout after 5 seconds")
        repl.stop()
        repl.stop()
        self.assertFalse(repl.is_alive())
        self.assertIn("NameError", repl.execute("x")["error"])  # it starts by itself

    def test_manager(self):
        manager = REPLManager(timeout=30, client=self.client)
        self.addCleanup(manager.cleanup_all)
        one, other = self.place / "any", self.place / "other"
        repl = manager.get_or_create("a", one)
        self.assertIs(manager.get_or_create("a", one), repl)
        manager.get_or_create("b", str(other))
        repl.execute("open('here', 'w').close()")
        self.assertEqual(os.listdir(one), ["here"])
        self.assertEqual(manager.get_active_sessions(), ["a", "b"])
        manager.cleanup_session("a")
        self.assertEqual(manager.get_stats()["sessions"], ["b"])
        manager.cleanup_all()
        self.assertEqual(manager.get_stats()["total_repls"], 0)

    def test_a_repl_that_cannot_start(self):
        from cellblock import Client

        down = Client(socket="/nowhere/socket")
        self.assertFalse(PersistentREPL(self.place, client=down).start())
        with self.assertRaisesRegex(RuntimeError, "cannot start a REPL for session a: no Cellblock service answers"):
            REPLManager(client=down).get_or_create("a", self.place)


if __name__ == "__main__":
    unittest.main()
