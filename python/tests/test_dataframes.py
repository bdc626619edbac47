"""DataFrames into a session and out of it, and what hostile ones cannot do."""

import io
import json
import unittest
import zipfile

from cellblock import CodeFailed, InvalidRequest

from .service import HAS_PANDAS, PANDAS, ServiceTest

if HAS_PANDAS:
    import numpy as np
    import pandas as pd

    from cellblock import dataframes


@unittest.skipUnless(HAS_PANDAS, "this Python has no pandas")
class TestDataFrames(ServiceTest):
    packages = PANDAS

    def frames(self):
        plain = pd.DataFrame(
            {
                "i": [1, 2, 3],
                "f": [0.1, np.nan, 1 / 3],
                "s": ["a", None, "ü"],
                "b": [True, False, True],
                "t": pd.date_range("2020", periods=3),
                "tz": pd.date_range("2020", periods=3, tz="Europe/Berlin"),
                "c": pd.Categorical(["x", "y", "x"], ordered=True),
                "I": pd.array([1, None, 3], dtype="Int64"),
                "S": pd.array(["a", None, "c"], dtype="string"),
                "d": pd.to_timedelta([1, 2, 3], unit="s"),
                7: np.array([1, 2, 3], dtype="uint8"),
            },
            index=pd.Index(["k", "l", "m"], name="key"),
        )
        nested = plain.set_index(["i", "s"])
        nested.columns = pd.MultiIndex.from_product([["top"], nested.columns], names=["u", "v"])
        twice = plain[["i", "f"]].copy()
        twice.columns = ["same", "same"]
        return {"plain": plain, "nested": nested, "twice": twice, "empty": pd.DataFrame(), "none": plain.iloc[:0]}

    def test_in_and_out(self):
        session = self.session()
        for name, frame in self.frames().items():
            with self.subTest(name):
                session.put_dataframe("df", frame)
                pd.testing.assert_frame_equal(session.get_dataframe("df"), frame)
        result = session.execute("df = pd.DataFrame({'n': np.arange(100_000)}) if 'pd' in globals() else __import__('pandas').DataFrame({'n': range(100_000)})")
        self.assertTrue(result["success"], result["error"])
        self.assertEqual(int(session.get_dataframe("df").n.sum()), 4_999_950_000)
        self.assertEqual((session.files(), list(session.execute("1")["namespace"])), ([], ["df"]))

    def test_what_does_not_cross(self):
        session = self.session()
        with self.assertRaisesRegex(InvalidRequest, "'x' holds a object"):
            session.put_dataframe("df", pd.DataFrame({"x": [object()]}))
        with self.assertRaisesRegex(InvalidRequest, "no name of a variable"):
            session.put_dataframe("df; x", pd.DataFrame())
        with self.assertRaisesRegex(CodeFailed, "NameError"):
            session.get_dataframe("missing")
        session.execute("n = 1")
        with self.assertRaisesRegex(CodeFailed, "a pandas DataFrame is needed, not int"):
            session.get_dataframe("n")
        session.put_dataframe("df", pd.DataFrame({"x": range(1000)}))
        with self.assertRaisesRegex(ValueError, "more than 100 bytes"):
            session.get_dataframe("df", max_bytes=100)

    def test_hostile_bytes(self):
        def container(values, rows=1, raw=(b"\0" * 8,), columns=1, compression=zipfile.ZIP_STORED):
            out = io.BytesIO()
            meta = {"rows": rows, "index": {"range": [0, rows, 1], "names": [None]}, "columns": {"range": [0, columns, 1], "names": [None]}, "values": values}
            with zipfile.ZipFile(out, "w", compression) as z:
                z.writestr("meta.json", json.dumps(meta))
                for i, data in enumerate(raw):
                    z.writestr(str(i), data)
            return out.getvalue()

        self.assertEqual(dataframes.unpack(container([{"plain": "<i8", "raw": 0}]), 1 << 20).shape, (1, 1))
        for name, data in {
            "no zip": b"PK junk",
            "objects": container([{"plain": "|O", "raw": 0}]),
            "records": container([{"plain": "<i8,<i8", "raw": 0}]),
            "lengths": container([{"plain": "<i8", "raw": 0}], rows=2),
            "another file": container([{"plain": "<i8", "raw": "../x"}]),
            "a bomb": container([{"plain": "<i8", "raw": 0}], raw=(bytes(64 << 20),), compression=zipfile.ZIP_DEFLATED),
            "rows without end": container([], rows=1 << 60, columns=0),
            "no dict": container([7]),
        }.items():
            with self.subTest(name), self.assertRaisesRegex(ValueError, "no DataFrame"):
                dataframes.unpack(data, 1 << 20)


if __name__ == "__main__":
    unittest.main()
