"""The folder of a session: what crosses, and what hostile names cannot do."""

import os
import tempfile
import unittest
from pathlib import Path

from cellblock import InvalidRequest
from cellblock._folder import Folder


class TestFolder(unittest.TestCase):
    def setUp(self):
        place = tempfile.TemporaryDirectory()
        self.addCleanup(place.cleanup)
        self.outside = Path(place.name, "outside")
        self.outside.mkdir()
        (self.outside / "canary").write_text("alive")
        self.path = Path(place.name, "folder")
        self.path.mkdir()
        self.folder = Folder(self.path)

    def sent(self):
        return {path: b"".join(self.folder.send(path)) for path in self.folder.changed()}

    def test_what_is_new_or_changed_is_sent_once(self):
        (self.path / "a").write_text("1")
        (self.path / "d/e").mkdir(parents=True)
        (self.path / "d/e/b").write_text("2")
        self.assertEqual(self.sent(), {"a": b"1", "d/e/b": b"2"})
        self.assertEqual(self.sent(), {})
        (self.path / "a").write_text("3")  # the same size, within one tick of the clock
        self.assertEqual(self.sent(), {"a": b"3"})
        (self.path / "a").unlink()
        self.assertEqual(self.sent(), {})
        self.folder.forget()
        self.assertEqual(self.sent(), {"d/e/b": b"2"})

    def test_links_and_fifos_do_not_cross(self):
        os.symlink(self.outside / "canary", self.path / "link")
        os.symlink(self.outside, self.path / "dir")
        os.mkfifo(self.path / "fifo")
        self.assertEqual(self.folder.changed(), [])
        for path in ("link", "dir/canary", "fifo"):
            with self.assertRaises(OSError):
                self.folder.open(path)

    def test_what_is_received_is_not_sent_back(self):
        self.folder.receive("x/y", [b"12", b"3"])
        self.assertEqual((self.path / "x/y").read_bytes(), b"123")
        self.assertEqual(self.sent(), {})

    def test_a_link_is_replaced_and_never_followed(self):
        os.symlink(self.outside / "canary", self.path / "file")
        self.folder.receive("file", [b"from a cell"])
        os.symlink(self.outside, self.path / "dir")
        self.folder.receive("dir/canary", [b"from a cell"])
        self.assertEqual((self.outside / "canary").read_text(), "alive")
        self.assertEqual((self.path / "file").read_text(), "from a cell")
        self.assertEqual((self.path / "dir/canary").read_text(), "from a cell")
        os.symlink(self.outside, self.path / "other")
        self.folder.delete("other/canary")
        self.assertEqual((self.outside / "canary").read_text(), "alive")

    def test_names_that_lead_out_are_refused(self):
        for path in ("../x", "/etc/x", "a/../../x", "a//b", "", ".", "a/.", "a\0b"):
            with self.subTest(path), self.assertRaises(InvalidRequest):
                self.folder.receive(path, [b""])

    def test_half_a_file_is_none(self):
        def broken():
            yield b"half"
            raise ConnectionError

        (self.path / "a").write_text("whole")
        with self.assertRaises(ConnectionError):
            self.folder.receive("a", broken())
        self.assertEqual(os.listdir(self.path), ["a"])
        self.assertEqual((self.path / "a").read_text(), "whole")

    def test_deleted_unless_it_was_changed_here(self):
        self.folder.receive("d/gone", [b"1"])
        self.folder.receive("kept", [b"1"])
        (self.path / "kept").write_text("the user's")
        self.folder.delete("d/gone")
        self.folder.delete("kept")
        self.folder.delete("never/there")
        self.assertEqual(os.listdir(self.path), ["kept"])

    def test_a_file_and_a_directory_change_places(self):
        self.folder.receive("a", [b"1"])
        self.folder.receive("a/b", [b"2"])
        self.assertEqual((self.path / "a/b").read_bytes(), b"2")
        self.folder.delete("a/b")
        self.folder.receive("a", [b"3"])
        self.assertEqual((self.path / "a").read_bytes(), b"3")


if __name__ == "__main__":
    unittest.main()
