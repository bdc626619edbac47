"""The parts of the old interface that need no service: settings, functions, import path."""

import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from cellblock import BLOCKED_IMPORTS, SUPPORTED_FILE_TYPES, InvalidRequest, SandboxConfig, utils
from cellblock.__main__ import main
from cellblock.dropin import PACKAGE

PYTHON = Path(__file__).resolve().parents[1]


class Scratch(unittest.TestCase):
    def setUp(self):
        place = tempfile.TemporaryDirectory()
        self.addCleanup(place.cleanup)
        self.place = Path(place.name).resolve()


class TestConstants(unittest.TestCase):
    def test_the_lists(self):
        self.assertEqual(
            BLOCKED_IMPORTS,
            ["socket", "subprocess", "os.system", "eval", "exec", "__import__", "importlib", "shutil.rmtree", "pickle"],
        )
        self.assertEqual(
            " ".join(SUPPORTED_FILE_TYPES),
            ".txt .md .log .rtf .csv .tsv .json .xml .yaml .yml .xlsx .xls .xlsm .docx .doc .pdf .dat .h5 .hdf5 .nc "
            ".parquet .feather .png .jpg .jpeg .gif .bmp .tiff .svg .zip .tar .gz .bz2 .7z",
        )


class TestSandboxConfig(Scratch):
    def test_defaults_and_dict(self):
        base = self.place / "a/b"
        config = SandboxConfig(execution_base_dir=str(base))
        self.assertEqual(
            config.to_dict(),
            {
                "timeout": 30,
                "max_memory_mb": 512,
                "execution_base_dir": str(base),
                "use_persistent_repl": True,
                "blocked_imports": BLOCKED_IMPORTS,
                "supported_file_types_count": len(SUPPORTED_FILE_TYPES),
            },
        )
        self.assertTrue(base.is_dir())
        self.assertEqual(config.execution_base_dir, base)
        config.blocked_imports.append("x")
        config.supported_file_types.clear()
        self.assertEqual((config.blocked_imports, config.supported_file_types), (BLOCKED_IMPORTS, SUPPORTED_FILE_TYPES))

    def test_types_and_folders(self):
        config = SandboxConfig(execution_base_dir=self.place)
        self.assertTrue(config.is_file_type_supported("/x/Data.CSV"))
        self.assertFalse(config.is_file_type_supported("setup.exe") or config.is_file_type_supported("csv"))
        self.assertEqual(config.get_execution_dir("s-1"), self.place / "s-1")
        self.assertTrue((self.place / "s-1").is_dir())
        for bad in ("../x", "", ".", "a/b", "a" * 65, "a\n"):
            with self.subTest(bad), self.assertRaises(InvalidRequest):
                config.get_execution_dir(bad)


class TestUtils(Scratch):
    def test_format_file_size(self):
        for size, text in {0: "0.0 B", 1023: "1023.0 B", 1536: "1.5 KB", 5 << 20: "5.0 MB", 3 << 40: "3.0 TB", 1 << 60: "1024.0 PB"}.items():
            self.assertEqual(utils.format_file_size(size), text)

    def test_the_environment_is_not_the_caller_s(self):
        os.environ["A_SECRET_OF_MINE"] = "x"
        self.addCleanup(os.environ.pop, "A_SECRET_OF_MINE")
        env = utils.get_execution_env()
        self.assertEqual(env["PYTHONIOENCODING"], "utf-8")
        self.assertNotIn("A_SECRET_OF_MINE", env)

    def test_validate_file_path(self):
        file = self.place / "f"
        file.write_text("")
        self.assertTrue(utils.validate_file_path(str(file)))
        for bad in (str(self.place), str(file) + "x", "a\0b", ""):
            self.assertFalse(utils.validate_file_path(bad))

    def test_save_code_to_file(self):
        utils.save_code_to_file("print('é')", self.place, "exec1")
        self.assertEqual((self.place / "script.py").read_text("utf-8"), "print('é')")
        self.assertEqual((self.place / "script_exec1.py").read_text("utf-8"), "print('é')")
        with self.assertRaises(InvalidRequest):
            utils.save_code_to_file("", self.place, "../x")

    def test_input_files_are_copied_once_and_again_when_they_changed(self):
        source, folder, cache = self.place / "in.csv", self.place / "s", {}
        folder.mkdir()
        source.write_text("1")
        utils.prepare_input_files({str(source): "data.csv"}, folder, cache, "s")
        (folder / "data.csv").write_text("the code's own")
        utils.prepare_input_files({str(source): "data.csv"}, folder, cache, "s")
        self.assertEqual((folder / "data.csv").read_text(), "the code's own")
        source.write_text("22")
        utils.prepare_input_files({str(source): "data.csv"}, folder, cache, "s")
        self.assertEqual((folder / "data.csv").read_text(), "22")
        self.assertEqual(cache, {"s": {str(source): "data.csv"}})
        for bad in ("../x", "/x", "a/../../b"):
            with self.subTest(bad), self.assertRaises(InvalidRequest):
                utils.prepare_input_files({str(source): bad}, folder, cache, "s")

    def test_cleanup_execution_dir(self):
        folder = self.place / "gone"
        folder.mkdir()
        utils.cleanup_execution_dir(folder, "session")
        self.assertTrue(folder.exists())
        utils.cleanup_execution_dir(folder)
        utils.cleanup_execution_dir(folder)
        self.assertFalse(folder.exists())

    def test_enhance_error_detection(self):
        def enhanced(output, code, error=None):
            return utils.enhance_error_detection({"success": code == 0, "output": output, "error": error, "return_code": code})

        silent = enhanced("VALUE ERROR: no such column\n", 0)
        self.assertFalse(silent["success"])
        self.assertEqual(silent["error"], "Error detected in output (code exited with 0 but printed error):\nVALUE ERROR: no such column\n")
        self.assertEqual(enhanced("File Not Found", 1)["error"], "Error detected in output (stderr was empty):\nFile Not Found")
        self.assertEqual(enhanced("File not found", 1, "Traceback")["error"], "Traceback")
        self.assertTrue(enhanced("all is well", 0)["success"])
        self.assertTrue(enhanced("", 0)["success"])


class TestDropin(Scratch):
    def test_every_import_of_the_old_path(self):
        self.assertEqual(main(["dropin", str(self.place)]), 0)
        code = f"""
from {PACKAGE} import (CodeExecutor, PythonExecutor, SandboxConfig, ImportValidator, PersistentREPL, REPLManager,
    BLOCKED_IMPORTS, SUPPORTED_FILE_TYPES, utils)
import {PACKAGE}.core as core, {PACKAGE}.sandbox as sandbox, {PACKAGE}.import_validator as import_validator
import {PACKAGE}.repl_manager as repl_manager, {PACKAGE}.utils as utils_module
assert core.CodeExecutor is CodeExecutor is core.PythonExecutor is PythonExecutor
assert sandbox.SandboxConfig is SandboxConfig and sandbox.BLOCKED_IMPORTS is BLOCKED_IMPORTS
assert sandbox.SUPPORTED_FILE_TYPES is SUPPORTED_FILE_TYPES
assert import_validator.ImportValidator is ImportValidator
assert repl_manager.REPLManager is REPLManager and repl_manager.PersistentREPL is PersistentREPL
assert utils_module is utils and utils.format_file_size(1536) == "1.5 KB"
for name in ("get_execution_env", "validate_file_path", "save_code_to_file", "prepare_input_files",
             "cleanup_execution_dir", "enhance_error_detection"):
    assert callable(getattr(utils, name)), name
"""
        env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(self.place), str(PYTHON)])}
        subprocess.run([sys.executable, "-c", code], env=env, check=True)

    def test_what_is_there_is_kept(self):
        executor = self.place.joinpath(*PACKAGE.split("."))
        executor.mkdir(parents=True)
        (self.place / "backend/__init__.py").write_text("mine = 1\n")
        (executor / "core.py").write_text("class CodeExecutor: pass\n")
        with open(os.devnull, "w") as null:
            kept, sys.stderr = sys.stderr, null
            self.addCleanup(setattr, sys, "stderr", kept)
            self.assertEqual(main(["dropin", str(self.place)]), 1)
            self.assertEqual(main(["dropin", str(self.place / "none")]), 1)
        self.assertEqual(os.listdir(executor), ["core.py"])
        self.assertEqual(main(["dropin", "--force", str(self.place)]), 0)
        self.assertIn("cellblock", (executor / "core.py").read_text())
        self.assertEqual((self.place / "backend/__init__.py").read_text(), "mine = 1\n")
        # A directory that was there without one is perhaps part of a namespace package.
        self.assertFalse((self.place / "backend/tools/__init__.py").exists())
        self.assertEqual(main(["dropin", str(self.place)]), 0)  # again, over its own files


if __name__ == "__main__":
    unittest.main()
