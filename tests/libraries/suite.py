"""Runs tests of a library with pytest, and prints a line for each: its id and what came of it.

The arguments are plugins of pytest, then files below suites/. suites/numpy/core/tests stands for
numpy/core/tests, which a root leaves out: it is given to numpy.core as a part of that package.
"""
import importlib
import os
import sys

import pytest

# What allocates gigabytes or takes minutes, and what needs the package py, which a root holds only when
# it is named.
LEFT_OUT = 'huge or large or big or os-path'


class Report:
    def pytest_runtest_logreport(self, report):
        if report.when == 'call' or report.outcome != 'passed':
            text = report.longreprtext.strip().splitlines()[-1:] if report.failed else ['']
            print('\n@', report.nodeid.replace(' ', '_'), report.when, report.outcome, *text)

    def pytest_collectreport(self, report):
        if report.failed:
            print('\n@', report.nodeid, 'collect failed', report.longreprtext.strip().splitlines()[-1])


def reach(file):
    name = os.path.relpath(file, 'suites').partition('/tests/')[0]
    package = importlib.import_module(name.replace('/', '.'))
    here = os.path.abspath('suites/' + name)
    if here not in package.__path__:
        package.__path__.append(here)


plugins = [a for a in sys.argv[1:] if '/' not in a]
files = [a for a in sys.argv[1:] if '/' in a]
for file in files:
    reach(file)
arguments = ['-q', '-p', 'no:cacheprovider', '--no-header', '--tb=short', '-W', 'ignore', '-k', 'not (%s)' % LEFT_OUT]
for plugin in plugins:
    arguments += ['-p', plugin]
print('\n@ end', pytest.main(arguments + files, [Report()]))
