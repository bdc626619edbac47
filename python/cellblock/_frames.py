"""A DataFrame as bytes and back, without pickle.

This text runs on both sides: it is imported here, and executed in the cell. A
zip file without compression holds meta.json and the plain columns as raw
memory; all other columns are lists in meta.json.
"""

import io
import json
import re
import zipfile

import numpy as np
import pandas as pd

PLAIN = re.compile(r"[<>|][biufcmM]\d+(\[\d*[a-zA-Z]+\])?")
# What a list in meta.json may become again; anything else stays object.
EXTENSION = re.compile(r"string|str|boolean|U?Int(8|16|32|64)|Float(32|64)")


def pack(frame):
    if not isinstance(frame, pd.DataFrame):
        raise TypeError("a pandas DataFrame is needed, not %s" % type(frame).__name__)
    raw = []
    meta = {
        "rows": len(frame),
        "index": pack_index(frame.index, raw),
        "columns": pack_index(frame.columns, raw),
        "values": [pack_values(frame.iloc[:, i], raw, frame.columns[i]) for i in range(frame.shape[1])],
    }
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as z:
        z.writestr("meta.json", json.dumps(meta))
        for i, data in enumerate(raw):
            z.writestr(str(i), data)
    return out.getvalue()


def pack_index(index, raw):
    if isinstance(index, pd.RangeIndex):
        return {"range": [index.start, index.stop, index.step], "names": scalars(index.names, "index")}
    levels = [index.get_level_values(i) for i in range(index.nlevels)]
    return {
        "levels": [pack_values(level.to_series(), raw, "index") for level in levels],
        "names": scalars(index.names, "index"),
        "multi": isinstance(index, pd.MultiIndex),
    }


def pack_values(values, raw, what):
    dtype = values.dtype
    if isinstance(dtype, np.dtype) and dtype.kind in "biufcmM":
        array = np.ascontiguousarray(values.to_numpy())
        raw.append(array.tobytes())
        return {"plain": array.dtype.str, "raw": len(raw) - 1}
    if isinstance(dtype, pd.DatetimeTZDtype):
        utc = values.dt.tz_convert("UTC").dt.tz_localize(None)
        return {"tz": str(dtype.tz), "utc": pack_values(utc, raw, what)}
    if isinstance(dtype, pd.CategoricalDtype):
        return {
            "codes": pack_values(pd.Series(values.cat.codes.to_numpy()), raw, what),
            "categories": pack_values(dtype.categories.to_series(), raw, what),
            "ordered": bool(dtype.ordered),
        }
    return {"list": scalars(values, what), "dtype": str(dtype)}


def scalars(values, what):
    found = []
    for value in values:
        if isinstance(value, np.generic):
            value = value.item()
        if value is pd.NA or value is pd.NaT:
            value = None
        if value is not None and type(value) not in (str, int, float, bool):
            raise TypeError("%r holds a %s: only numbers, text, booleans and times cross" % (what, type(value).__name__))
        found.append(value)
    return found


def unpack(data, max_bytes):
    with zipfile.ZipFile(io.BytesIO(data)) as z:
        if sum(info.file_size for info in z.infolist()) > max_bytes:
            raise ValueError("more than %d bytes" % max_bytes)
        meta = json.loads(z.read("meta.json"))
        if meta["rows"] > max_bytes:  # of an index that takes no room by itself
            raise ValueError("more than %d rows" % max_bytes)
        values = [unpack_values(v, z) for v in meta["values"]]
        index = unpack_index(meta["index"], z)
        columns = unpack_index(meta["columns"], z)
    if len(index) != meta["rows"] or any(len(v) != len(index) for v in values) or len(columns) != len(values):
        raise ValueError("lengths differ")
    frame = pd.DataFrame(dict(enumerate(values)), index=index)
    frame.columns = columns
    return frame


def unpack_index(meta, z):
    names = meta["names"]
    if "range" in meta:
        return pd.RangeIndex(*meta["range"], name=names[0])
    levels = [unpack_values(v, z) for v in meta["levels"]]
    if meta["multi"]:
        return pd.MultiIndex.from_arrays(levels, names=names)
    return pd.Index(levels[0], name=names[0])


def unpack_values(meta, z):
    if "plain" in meta:
        if not PLAIN.fullmatch(meta["plain"]):
            raise ValueError("an unknown type of values")
        return np.frombuffer(z.read(str(int(meta["raw"]))), dtype=np.dtype(meta["plain"])).copy()
    if "tz" in meta:
        return pd.DatetimeIndex(unpack_values(meta["utc"], z)).tz_localize("UTC").tz_convert(meta["tz"])
    if "codes" in meta:
        categories = pd.Index(unpack_values(meta["categories"], z))
        return pd.Categorical.from_codes(unpack_values(meta["codes"], z), categories=categories, ordered=meta["ordered"])
    if EXTENSION.fullmatch(meta["dtype"]):
        try:
            return pd.array(meta["list"], dtype=meta["dtype"])
        except TypeError:  # a type that this side's pandas does not know
            pass
    array = np.empty(len(meta["list"]), dtype=object)
    array[:] = meta["list"]
    return array
