"""Runs one module of CPython's test suite, or the classes of it that are named, and says what came of each of its tests.

The same file runs in a cell and on the host. For every test it writes one line to standard output, which
starts with a mark that no test prints, followed by JSON: {"id", "outcome", "detail"}; a last line with "end"
says that nothing is missing. Whatever else the tests print stays around these lines.
"""
import fcntl
import importlib
import json
import os
import socket
import sys
import traceback
import unittest

from test import support
from test.support import os_helper, socket_helper

MARK = "\n\x1ecpython-test "


class Report(unittest.TestResult):
    def __init__(self, fd):
        super().__init__()
        self.fd, self.process, self.outcome, self.detail = fd, os.getpid(), None, ""

    def say(self, **fields):
        if os.getpid() != self.process:
            os._exit(99)  # a child that a test forked, and that should not have come back from it
        # One write a line: another thread's output cannot come between.
        os.write(self.fd, (MARK + json.dumps(fields) + "\n").encode())

    def startTest(self, test):
        super().startTest(test)
        self.outcome, self.detail = None, ""
        self.say(id=test.id(), outcome="started", detail="")

    def stopTest(self, test):
        super().stopTest(test)
        self.say(id=test.id(), outcome=self.outcome or "passed", detail=self.detail)

    def note(self, test, outcome, detail):
        if not isinstance(test, unittest.TestCase) and not hasattr(test, "test_case"):
            # A class or module whose set-up failed: no test of it was started.
            self.say(id=test.id(), outcome=outcome, detail=detail)
        elif self.outcome != "failed":  # a failure is not undone by a skipped subtest
            self.outcome, self.detail = outcome, detail

    def addError(self, test, err):
        # The ends of the chain of exceptions: the cause comes first, what was made of it last.
        text = "".join(traceback.format_exception(*err))
        self.note(test, "failed", text if len(text) < 3000 else text[:1500] + "\n...\n" + text[-1500:])

    addFailure = addError

    def addSubTest(self, test, subtest, err):
        if err is not None:
            self.addError(test, err)

    def addSkip(self, test, reason):
        self.note(test, "skipped", reason)

    def addUnexpectedSuccess(self, test):
        self.note(test, "failed", "unexpected success")


def main(name, *classes):
    # Out of the way of tests that look for the lowest free descriptor.
    report = Report(fcntl.fcntl(1, fcntl.F_DUPFD_CLOEXEC, 64))
    support.use_resources = []  # nothing that needs a network, a display, hours or gigabytes
    support.verbose = 0
    try:
        socket.socket(socket.AF_UNIX).close()
    except OSError as e:
        # Modules ask it of test.support while they are imported, which does not expect this error.
        socket_helper._bind_nix_socket_error = e
    with os_helper.temp_cwd("cpython_test"):
        try:
            module = importlib.import_module(name if "." in name else "test." + name)
            if classes:
                loader = unittest.defaultTestLoader
                unittest.TestSuite(loader.loadTestsFromName(c, module) for c in classes).run(report)
            elif hasattr(module, "test_main") and not hasattr(module, "load_tests"):
                # It prepares its tests itself, and hands them over with run_unittest.
                support._run_suite = lambda suite: suite.run(report)
                module.test_main()
            else:
                unittest.defaultTestLoader.loadTestsFromModule(module).run(report)
        except unittest.SkipTest as e:
            report.say(id="import " + name, outcome="skipped", detail=str(e))
    report.say(id="", outcome="end", detail="")


main(*sys.argv[1:])
