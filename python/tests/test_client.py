"""Client, Session and Stream, against a real service."""

import io
import json
import os
import socket
import subprocess
import sys
import threading
import unittest

from cellblock import (
    Client,
    ImportValidator,
    InvalidRequest,
    NotFound,
    TooLarge,
    Unavailable,
)

from .service import TOP, ServiceTest


class TestExecute(ServiceTest):
    def test_a_cell_of_its_own(self):
        before = len(self.client.sessions())
        result = self.client.execute("print(open('in.txt').read(), 6 * 7)", input_files={"in.txt": b"given"})
        self.assertEqual(self.output(result), "given 42\n")
        self.assertEqual(
            {k: result[k] for k in ("success", "error", "return_code", "verdict", "created_files", "stderr", "value")},
            {"success": True, "error": None, "return_code": 0, "verdict": "ok", "created_files": [], "stderr": "", "value": None},
        )
        self.assertEqual(len(self.client.sessions()), before)

    def test_what_code_does_is_in_the_result(self):
        for code, verdict, status in (
            ("1/0", "error", 1),
            ("print(", "syntax-error", 1),
            ("import sys; sys.exit(7)", "exit", 7),
            ("import os; os._exit(3)", "exit", 3),
            ("import os; os.kill(os.getpid(), 11)", "crashed", -1),
            ("bytearray(1 << 40)", "error", 1),
        ):
            with self.subTest(code):
                result = self.client.execute(code)
                self.assertEqual((result["verdict"], result["return_code"], result["success"]), (verdict, status, False))

    def test_stage_timeout_and_limits(self):
        result = self.client.execute("def f():\n    1/0\nf()", stage_name="exec1")
        self.assertIn('script_exec1.py", line 2', result["error"])
        result = self.client.execute("while True: pass", timeout=0.5)
        self.assertEqual((result["verdict"], result["error"]), ("timeout", "Execution timeout after 0.5 seconds"))
        result = self.client.execute("b = bytearray(200 << 20)", limits={"memory_mb": 64})
        self.assertEqual(result["exception"]["name"], "MemoryError")

    def test_text_of_every_kind(self):
        self.assertEqual(self.output(self.client.execute("print('é\\u2011日\U0001f600', ascii('\\ud800'))")), "é\u2011日\U0001f600 '\\ud800'\n")
        self.assertEqual(self.client.execute("import sys; sys.stdout.buffer.write(b'\\xff'); None")["output"], "\ufffd")

    def test_requests_that_make_no_sense(self):
        for arguments in (
            {"timeout": -1},
            {"code": "'\ud800'"},
            {"stage_name": "../x"},
            {"input_files": {"../x": b""}},
            {"limits": {"memory_mb": 1}},
            {"limits": {"no_such": 1}},
            {"root": "no-such-root"},
        ):
            with self.subTest(arguments), self.assertRaises(InvalidRequest):
                self.client.execute(**{"code": "1", **arguments})
        with self.assertRaises(InvalidRequest):
            self.client.session("../x")


class TestSession(ServiceTest):
    def test_variables_live_on(self):
        with self.client.session() as session:
            self.assertEqual(session.execute("x = 20")["namespace"]["x"], {"type": "int", "value": "20"})
            self.assertEqual(session.execute("x + 1")["value"], "21")
            self.assertEqual(session.execute("x", fresh_namespace=True)["exception"]["name"], "NameError")
            self.assertIn(session.id, [s["id"] for s in self.client.sessions()])
            self.assertEqual(self.client.attach(session.id).execute("1+1")["value"], "2")
        self.assertNotIn(session.id, [s["id"] for s in self.client.sessions()])
        session.close()  # again, which is no error
        with self.assertRaises(NotFound):
            session.execute("1")
        with self.assertRaises(NotFound):
            self.client.attach("never-there")

    def test_a_name_of_one_s_own(self):
        session = self.session(session_id="my.own_name-1")
        self.assertEqual((session.id, session.info()["id"]), ("my.own_name-1",) * 2)
        with self.assertRaisesRegex(Exception, "already"):
            self.client.session("my.own_name-1")

    def test_the_last_result(self):
        session = self.session()
        with self.assertRaises(NotFound):
            session.last_result()
        told = session.execute("print(1)\n6 * 7")
        self.assertEqual(self.client.attach(session.id).last_result(), told)
        with session.stream("import time\nprint(2, flush=True)\ntime.sleep(1)\n8") as stream:
            next(iter(stream))
            self.assertEqual(session.last_result()["value"], "8")
            stream.close()
            with self.assertRaisesRegex(NotFound, "last_result"):
                stream.result

    def test_lost_variables_are_told(self):
        session = self.session()
        session.execute("x = 1; open('kept', 'w').write('here')")
        self.assertTrue(session.execute("import os; os._exit(1)")["session"]["lost"])
        self.assertEqual(session.execute("'x' in globals(), open('kept').read()")["value"], "(False, 'here')")

    def test_interrupt(self):
        session = self.session()
        with session.stream("x = 5\nprint('begin', flush=True)\nwhile True: pass") as stream:
            for frame in stream:
                session.interrupt()
            self.assertEqual(stream.result["exception"]["name"], "KeyboardInterrupt")
        self.assertEqual(session.execute("x")["value"], "5")

    def test_threads_share_a_client(self):
        session, results = self.session(), []
        session.execute("n = 0")

        def work():
            for _ in range(5):
                results.append(self.client.execute("print(1)")["output"])
                session.execute("n += 1")

        threads = [threading.Thread(target=work) for _ in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual((results, session.execute("n")["value"]), (["1\n"] * 20, "20"))


class TestStream(ServiceTest):
    def test_output_as_it_is_printed(self):
        session = self.session()
        code = "import sys\nprint('one', flush=True)\nprint('two', file=sys.stderr, flush=True)\nprint('é' * 3)\nx = 1\nx"
        with session.stream(code) as stream:
            frames = list(stream)
        self.assertEqual([f.kind for f in frames if f.text == "two\n"], ["stderr"])
        self.assertEqual("".join(f.text for f in frames if f.kind == "stdout"), "one\nééé\n")
        self.assertEqual((stream.result["verdict"], stream.result["value"]), ("ok", "1"))
        self.assertEqual(session.stream("print('skipped'); 7").result["value"], "7")

    def test_much_output(self):
        with self.client.stream("for i in range(50_000): print('x' * 99)") as stream:
            self.assertEqual(sum(len(f.text) for f in stream), 5_000_000)

    def test_who_leaves_interrupts(self):
        session = self.session()
        with session.stream("x = 1\nprint('begin', flush=True)\nwhile True: pass") as stream:
            next(iter(stream))
        self.assertEqual(session.execute("x")["value"], "1")  # it has its turn, and the variables

    def test_an_error_in_a_stream_is_raised(self):
        with self.assertRaises(InvalidRequest):
            self.client.stream("1", root="no-such-root").result


class TestFiles(ServiceTest):
    def test_there_and_back(self):
        session = self.session()
        data = os.urandom(3 << 20)
        session.write("a/b c%20é.bin", data)
        self.assertEqual(session.read("a/b c%20é.bin"), data)
        session.write("text", "é")
        session.write("stream", io.BytesIO(data))
        session.write("pieces", [data[:10], b"", data[10:]])
        self.assertEqual(session.execute("open('stream', 'rb').read() == open('pieces', 'rb').read()")["value"], "True")
        self.assertEqual({f["path"]: f["size"] for f in session.files()}, {"a/b c%20é.bin": 3 << 20, "text": 2, "stream": 3 << 20, "pieces": 3 << 20})
        session.download("stream", self.place / "copy")
        self.assertEqual((self.place / "copy").read_bytes(), data)
        session.upload(self.place / "copy", "again/copy")
        self.assertEqual(b"".join(session.chunks("again/copy")), data)
        session.remove("text")
        session.remove("text")
        with self.assertRaises(NotFound):
            session.read("text")

    def test_hostile_names_and_links(self):
        session = self.session()
        for path in ("../x", "/etc/passwd", "a/../../x", "", "a//b"):
            with self.subTest(path), self.assertRaises(InvalidRequest):
                session.read(path)
        session.execute("import os; os.symlink('/etc/passwd', 'link'); os.mkfifo('fifo')")
        for path in ("link", "fifo"):
            with self.subTest(path), self.assertRaises(NotFound):
                session.read(path)

    def test_a_file_larger_than_its_workspace(self):
        session = self.session(limits={"workspace_size": "1M"})
        with self.assertRaises(TooLarge):
            session.write("large", bytes(2 << 20))


class TestValidate(ServiceTest):
    def test_both_validators_agree(self):
        with open(TOP / "validator/testdata/cases.json", encoding="utf-8") as f:
            cases = [case for section in json.load(f) for case in section["cases"]]
        own = ImportValidator()
        for case in cases[::7]:
            if "code" in case and sys.version_info[1] >= case.get("from", 0):
                with self.subTest(case["code"]):
                    self.assertEqual(self.client.validate(case["code"]), (case["want"] == "", own.find(case["code"])))


class TestWhere(unittest.TestCase):
    def test_a_service_that_does_not_answer_is_an_error(self):
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            port = unused.getsockname()[1]
            for url in ("unix:///nowhere/cellblock.sock", f"http://127.0.0.1:{port}"):
                with self.subTest(url), self.assertRaisesRegex(Unavailable, "no Cellblock service answers at"):
                    Client(url).execute("1")

    def test_addresses(self):
        self.assertEqual(Client("http://[::1]:80").address, "http://[::1]:80")
        self.assertEqual(Client(socket="/a/b").address, "unix:///a/b")
        self.assertEqual(Client("https://example.org").address, "https://example.org:443")
        for bad in ("", "ftp://x", "http://", "http://u:p@x", "http://x/path", "unix://x", "/a/b"):
            with self.subTest(bad), self.assertRaises(InvalidRequest):
                Client(bad or "x")
        with self.assertRaises(InvalidRequest):
            Client("http://x", socket="/x")

    def test_the_environment_names_one(self):
        code = "from cellblock import Client; print(Client().address)"
        for name, value in (("CELLBLOCK_URL", "http://127.0.0.1:1"), ("CELLBLOCK_SOCKET", "/x/y")):
            env = {"PYTHONPATH": str(TOP / "python"), name: value}
            out = subprocess.run([sys.executable, "-c", code], env=env, check=True, capture_output=True, text=True).stdout
            self.assertTrue(out.strip().endswith(value), out)


if __name__ == "__main__":
    unittest.main()
