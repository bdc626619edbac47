"""ImportValidator agrees with the service's validator, and needs no service."""

import base64
import filecmp
import json
import os
import sys
import time
import unittest
from pathlib import Path

from cellblock import BLOCKED_IMPORTS, ImportValidator, Issue
from cellblock import _parser

TOP = Path(__file__).resolve().parents[2]


def short(issues):
    return ", ".join(
        i.kind if i.kind in ("syntax", "unparsable") else f"{i.line}:{i.column} {i.kind} {i.name}" for i in issues
    )


class TestImportValidator(unittest.TestCase):
    def test_cases_that_the_service_shares(self):
        with open(TOP / "validator/testdata/cases.json", encoding="utf-8") as f:
            cases = [case for section in json.load(f) for case in section["cases"]]
        self.assertGreater(len(cases), 200)
        validator = ImportValidator()
        for case in cases:
            if sys.version_info[1] < case.get("from", 0):
                continue
            code = base64.b64decode(case["base64"]) if "base64" in case else case["code"]
            with self.subTest(code=code):
                self.assertEqual(short(validator.find(code)), case["want"])
                self.assertEqual(validator.validate(code)[0], case["want"] == "")

    def test_the_program_is_the_service_s_own(self):
        ours = Path(_parser.__file__).with_name("_facts.py")
        self.assertTrue(filecmp.cmp(ours, TOP / "validator/facts.py", shallow=False), f"copy validator/facts.py to {ours}")

    def test_messages(self):
        validator = ImportValidator()
        self.assertEqual(
            validator.validate("import socket\nfrom os import system\nx = eval('1')\nmodel.eval()\n"),
            (
                False,
                [
                    "Blocked import detected: socket",
                    "Blocked import detected: os.system",
                    "Dangerous function call detected: eval",
                ],
            ),
        )
        self.assertEqual(validator.validate("import json\nprint(json.dumps({}))"), (True, []))
        valid, issues = validator.validate("print(")
        self.assertFalse(valid)
        self.assertRegex(issues[0], "^Syntax error: ")
        self.assertEqual(validator.find("é = 1; eval('x')"), [Issue("Dangerous function call detected: eval", 1, 8, "call", "eval")])

    def test_the_list(self):
        validator = ImportValidator()
        self.assertTrue(validator.is_blocked("socket") and validator.is_blocked("os.system") and validator.is_blocked("socket.socket"))
        self.assertFalse(validator.is_blocked("os") or validator.is_blocked("sockets"))
        validator.add_blocked_import("requests")
        self.assertEqual(validator.validate("import requests"), (False, ["Blocked import detected: requests"]))
        validator.remove_blocked_import("requests")
        validator.remove_blocked_import("socket")
        self.assertEqual(validator.validate("import requests, socket"), (True, []))
        self.assertIn("socket", BLOCKED_IMPORTS)  # the constant is not what an instance changes
        self.assertEqual(ImportValidator(["math"]).validate("import math, socket")[1], ["Blocked import detected: math"])

    def test_hostile_source_hurts_nothing(self):
        validator = ImportValidator()
        validator.validate("1")
        for name, code in {
            "nested parentheses": "(" * 100_000 + ")" * 100_000,
            "backslash-newlines": "\\\n" * (1 << 19),
            "nested not": "not " * 100_000 + "x",
            "more than 4 MiB": "\n" * (4 << 20) + "\n",
            "lone surrogate": "x = '\ud800'",
            "NUL": "x = '\0'",
        }.items():
            with self.subTest(name):
                began = time.monotonic()
                valid, issues = validator.validate(code)
                self.assertFalse(valid)
                self.assertRegex(issues[0], "^(Syntax error|Cannot be parsed): ")
                self.assertLess(time.monotonic() - began, 2)
                self.assertEqual(validator.validate("import pickle")[1], ["Blocked import detected: pickle"])

    def test_a_parser_that_was_killed_is_replaced(self):
        validator = ImportValidator()
        validator.validate("1")
        first = _parser.shared._child.process
        first.kill()
        first.wait()
        self.assertEqual(validator.validate("import socket")[1], ["Blocked import detected: socket"])
        self.assertNotEqual(_parser.shared._child.process.pid, first.pid)

    def test_after_a_fork_both_can_validate(self):
        validator = ImportValidator()
        validator.validate("1")
        pid = os.fork()
        if pid == 0:
            os._exit(0 if validator.validate("import socket")[0] is False else 1)
        self.assertEqual(os.waitpid(pid, 0)[1], 0)
        self.assertEqual(validator.validate("import socket")[1], ["Blocked import detected: socket"])


if __name__ == "__main__":
    unittest.main()
