"""Files of arrays are read without trust in what they declare."""

from __future__ import annotations

import builtins
import io
import struct
import zipfile

import numpy as np
import pytest

from edgeattn.base.errors import InputError
from edgeattn.runtimes.arrays import read_npy, read_npz


def npy(shape: str, descr: str = "'<f4'", version: bytes = b"\x01\x00") -> bytes:
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY" + version + struct.pack("<H", len(header)) + header + bytes(64)


BROKEN = {
    "negative": (npy("(-1, 3)"), "declares the shape"),
    "huge": (npy("(2000000000, 3, 8)"), "cut short: it declares 192000000000 bytes"),
    "beyond": (npy("(99999999999999999999, 9)"), "cut short"),
    "fraction": (npy("(1.5, 3)"), "header is broken"),
    "objects": (npy("(1,)", "'|O'"), "could run code"),
    "in a record": (npy("(1,)", "[('a', '|O')]"), "could run code"),
    "nested": (npy("(" * 3000), "header is broken"),
    "long": (npy("(" + "1, " * 9000 + ")"), "header is broken"),
    "version": (npy("(1,)", version=b"\x09\x00"), "header is broken"),
    "short": (npy("(4, 4)")[:20], "header is broken"),
    "empty": (b"", "does not begin"),
    "a pickle": (b"cos\nsystem\n(S'true'\ntR.", "does not begin"),
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("packed", [False, True])
def test_broken_arrays(tmp_path, name, packed):
    content, message = BROKEN[name]
    path = tmp_path / ("x.npz" if packed else "x.npy")
    if packed:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x.npy", content)
    else:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_npz(path, ["x"]) if packed else read_npy(path)
    assert "allow_pickle" not in str(caught.value)


def test_broken_archives(tmp_path):
    path = tmp_path / "x.npz"
    np.savez_compressed(path, x=np.random.default_rng(0).random(999))
    whole = path.read_bytes()
    spoilt = bytearray(whole)
    spoilt[200:300] = bytes(100)
    for content in (b"", b"PK", whole[:-30], bytes(spoilt), whole[100:]):
        path.write_bytes(content)
        with pytest.raises(InputError, match="that NumPy reads"):
            read_npz(path, ["x"])


def test_an_archive_that_grows_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("edgeattn.runtimes.arrays._LARGEST_ARCHIVE_BYTES", 10**6)
    np.savez_compressed(tmp_path / "x.npz", x=np.zeros(10**6), y=np.ones(3))
    with pytest.raises(InputError, match="more than"):
        read_npz(tmp_path / "x.npz", ["x"])
    np.testing.assert_array_equal(read_npz(tmp_path / "x.npz", ["y"])["y"], np.ones(3))


def test_a_file_that_may_not_be_read_is_called_so(tmp_path, monkeypatch):
    def denied(path, *_args, **_how):
        raise PermissionError(13, "Permission denied", str(path))

    np.save(tmp_path / "x.npy", np.ones(3))
    np.savez(tmp_path / "x.npz", x=np.ones(3))
    monkeypatch.setattr(io, "open", denied)
    monkeypatch.setattr(builtins, "open", denied)
    with pytest.raises(InputError, match="Permission denied"):
        read_npy(tmp_path / "x.npy")
    with pytest.raises(InputError, match="Permission denied"):
        read_npz(tmp_path / "x.npz", ["x"])
