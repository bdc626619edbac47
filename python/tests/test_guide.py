"""What users of the old system were shown, run unchanged through the old import path.

Each example is a program of its own, as a reader would type it, below a tree
into which `python -m cellblock dropin` wrote the package.
"""

import os
import re
import subprocess
import sys
import unittest

from cellblock import dropin

from .service import HAS_PANDAS, PANDAS, TOP, ServiceTest

IMPORTS = """
from backend.tools.python_coder.executor import CodeExecutor
from backend.tools.python_coder.executor import PythonExecutor
from backend.tools.python_coder.executor import ImportValidator
from backend.tools.python_coder.executor import SandboxConfig
from backend.tools.python_coder.executor import REPLManager
from backend.tools.python_coder.executor import PersistentREPL
from backend.tools.python_coder.executor import utils
from backend.tools.python_coder.executor import BLOCKED_IMPORTS, SUPPORTED_FILE_TYPES
from backend.tools.python_coder.executor.core import CodeExecutor
from backend.tools.python_coder.executor.sandbox import SandboxConfig
from backend.tools.python_coder.executor.import_validator import ImportValidator
from backend.tools.python_coder.executor.repl_manager import PersistentREPL, REPLManager
print(PythonExecutor is CodeExecutor)
"""

MAIN = """
from backend.tools.python_coder.executor import CodeExecutor

executor = CodeExecutor(
    timeout=30,
    max_memory_mb=512,
    execution_base_dir="./data/scratch",
    use_persistent_repl=True
)
result = executor.execute(
    code="print('Hello World')",
    input_files={"path/to/file.csv": "file.csv"},
    session_id="my-session",
    stage_name="exec1"
)
print(result["output"], result["error"])
"""

BASIC = """
from backend.tools.python_coder.executor import CodeExecutor

executor = CodeExecutor()
result = executor.execute("print('Hello')")

if result['success']:
    print(result['output'])
else:
    print(f"Error: {result['error']}")
"""

FILE_INPUT = """
from backend.tools.python_coder.executor import CodeExecutor
executor = CodeExecutor()
result = executor.execute(
    code="import pandas as pd\\ndf = pd.read_csv('data.csv')\\nprint(df.head())",
    input_files={DATA: "data.csv"},
    session_id="my-session"
)
print(result["output"], result["error"], result["namespace"]["df"])
"""

VALIDATION = """
from backend.tools.python_coder.executor import CodeExecutor, ImportValidator

for code in ("import subprocess", "print(1 + 1)"):
    validator = ImportValidator()
    is_valid, issues = validator.validate(code)

    if is_valid:
        executor = CodeExecutor()
        result = executor.execute(code)
        print(result["output"])
    else:
        print(f"Validation failed: {issues}")
"""

CONFIGURATION = """
from backend.tools.python_coder.executor import SandboxConfig

config = SandboxConfig(
    timeout=30,
    max_memory_mb=512,
    execution_base_dir="./data/scratch",
    use_persistent_repl=True
)
if config.is_file_type_supported("data.csv"):
    print("CSV files supported")
"""

REPL_MODE = """
from backend.tools.python_coder.executor import CodeExecutor

executor = CodeExecutor(use_persistent_repl=True)
result1 = executor.execute("import math; n = 2", session_id="sess1")
result2 = executor.execute("print(math.sqrt(n * 8))", session_id="sess1")
print(result1["success"], result2["output"])
executor.cleanup_session("sess1")
print(executor.get_stats()["repl_stats"]["total_repls"])
"""

REPL_MANAGER = """
from backend.tools.python_coder.executor import REPLManager
import tempfile
from pathlib import Path

execution_dir = Path(tempfile.mkdtemp())
manager = REPLManager(timeout=30)
repl = manager.get_or_create("session-123", execution_dir)
result = repl.execute("print(6 * 7)")
print(result["output"])
manager.cleanup_all()
"""

SELF_TEST = """
from backend.tools.python_coder.executor import CodeExecutor
executor = CodeExecutor(timeout=5, use_persistent_repl=False)
result = executor.execute('print("Test")')
assert result['success']
print('✓ Tests passed')
"""

CONSTANTS = """
from backend.tools.python_coder.executor import (
    BLOCKED_IMPORTS,
    SUPPORTED_FILE_TYPES
)

print(f"Blocked: {BLOCKED_IMPORTS}")
print(f"Supported: {SUPPORTED_FILE_TYPES}")
"""

UTILS = """
from backend.tools.python_coder.executor import utils

size_str = utils.format_file_size(1536)  # "1.5 KB"
env = utils.get_execution_env()  # {"PYTHONIOENCODING": "utf-8", ...}
if utils.validate_file_path(DATA):
    print("File exists")
print(size_str, env["PYTHONIOENCODING"])
"""

PRELOADED = """
from backend.tools.python_coder.executor import CodeExecutor

executor = CodeExecutor(fresh_namespace=FRESH)
for code in ("df = pd.DataFrame({'A': [1, 2]}); print(df.shape, np.arange(3).sum(), plt.get_backend())", "print(pd is not None)"):
    result = executor.execute(code, session_id="s")
    print(result["output"], result["error"], sorted(result["namespace"]))
"""


class GuideTest(ServiceTest):
    def setUp(self):
        super().setUp()
        dropin.write(self.place)
        (self.place / "path/to").mkdir(parents=True)
        (self.place / "path/to/file.csv").write_text("a\n1\n")
        self.data = self.place / "data.csv"
        self.data.write_text("name,value\nx,1\ny,2\n")

    def program(self, text):
        text = f"DATA = {str(self.data)!r}\n" + text
        env = {
            **os.environ,
            "CELLBLOCK_URL": self.client.address,
            "PYTHONPATH": os.pathsep.join([str(self.place), str(TOP / "python")]),
            "PYTHONIOENCODING": "utf-8",
        }
        done = subprocess.run([sys.executable, "-c", text], cwd=self.place, env=env, capture_output=True, text=True, encoding="utf-8")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout


class TestReadme(GuideTest):
    def test_every_example_runs(self):
        text = (TOP / "python/README.md").read_text(encoding="utf-8")
        blocks = re.findall("```python\n(.*?)```", text, re.S)
        self.assertEqual(len(blocks), 4)
        self.assertEqual(
            self.program("".join(blocks)),
            "Hello\n\n42\n\n0\n1\n2\nok\nb'SOME TEXT'\n2\n",
        )


class TestGuide(GuideTest):
    def test_imports(self):
        self.assertEqual(self.program(IMPORTS), "True\n")

    def test_main_executor(self):
        self.assertEqual(self.program(MAIN), "Hello World\n None\n")
        self.assertEqual(sorted(os.listdir(self.place / "data/scratch/my-session")), ["file.csv", "script.py", "script_exec1.py"])

    def test_basic_execution(self):
        self.assertEqual(self.program(BASIC), "Hello\n\n")

    def test_validation(self):
        self.assertEqual(self.program(VALIDATION), "Validation failed: ['Blocked import detected: subprocess']\n2\n\n")

    def test_configuration(self):
        self.assertEqual(self.program(CONFIGURATION), "CSV files supported\n")

    def test_repl_mode(self):
        self.assertEqual(self.program(REPL_MODE), "True 4.0\n\n0\n")

    def test_repl_manager(self):
        self.assertEqual(self.program(REPL_MANAGER), "42\n\n")

    def test_self_test(self):
        self.assertEqual(self.program(SELF_TEST), "✓ Tests passed\n")

    def test_constants(self):
        self.assertTrue(self.program(CONSTANTS).startswith("Blocked: ['socket', 'subprocess', 'os.system', "))

    def test_utils(self):
        self.assertEqual(self.program(UTILS), "File exists\n1.5 KB utf-8\n")


@unittest.skipUnless(HAS_PANDAS, "this Python has no pandas")
class TestGuideWithPandas(GuideTest):
    packages = PANDAS

    def test_file_input_with_pandas(self):
        self.assertEqual(
            self.program(FILE_INPUT),
            "  name  value\n0    x      1\n1    y      2\n None "
            "{'type': 'pandas.core.frame.DataFrame', 'shape': [2, 2], 'columns': ['name', 'value']}\n",
        )

    def test_libraries_are_there(self):
        for fresh in ("False", "True"):
            with self.subTest(fresh=fresh):
                self.assertEqual(
                    self.program(PRELOADED.replace("FRESH", fresh)).lower(),
                    "(2, 1) 3 agg\n none ['df']\ntrue\n none %s\n" % ("['df']" if fresh == "False" else "[]"),
                )


if __name__ == "__main__":
    unittest.main()
