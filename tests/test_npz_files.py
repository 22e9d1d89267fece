"""Hostile and damaged .npz files, of data and of weights: each is one line, and takes no memory that it cannot fill."""

import io
import re
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest

from gcl_jax import npz_files
from gcl_jax.checkpoints import pretrained, warm_start
from gcl_jax.data import arrays
from gcl_jax.errors import UserError


def npy(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def header(shape, descr="'|u1'", version=1, data=b""):
    """A .npy that says it has ``shape``, and has ``data``."""
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", len(text)) + text + data


def zipped(*members, method=zipfile.ZIP_STORED):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as file:
        for name, content in members:
            file.writestr(name, content)
    return stream.getvalue()


def changed(content, local, central, form, value):
    """A zip file of one member with a field of its local header and its directory's entry changed."""
    content = bytearray(content)
    struct.pack_into(form, content, content.index(b"PK\x03\x04") + local, value)
    struct.pack_into(form, content, content.index(b"PK\x01\x02") + central, value)
    return bytes(content)


ONE = ("x.npy", npy(np.arange(4)))
GOOD = zipped(ONE)
HOSTILE = {
    "a .npy": (npy(np.arange(4)), "single array, as np.save writes it"),
    "a .npy of nothing": (header("(0,)"), "single array"),
    "a .npy of version 3": (header("(1,)", version=3), "single array"),
    "a huge shape": (zipped(("x.npy", header("(1000000000, 10000)"))), r"x is said to be uint8.* and has 0 bytes"),
    "more numbers than 64 bits count": (zipped(("x.npy", header(f"({2**63}, {2**63})"))), "x is said to be"),
    "a huge item": (zipped(("x.npy", header("(1,)", "'<U500000000'"))), "x is said to be"),
    "a negative shape": (zipped(("x.npy", header("(-1,)", data=b"a"))), "x is said to be"),
    "two negative lengths": (zipped(("x.npy", header("(-1, -4)", data=b"abcd"))), "x is said to be"),
    "no numbers in a shape": (zipped(("x.npy", header("('a',)"))), "shape is not valid"),
    "a type that is none": (zipped(("x.npy", header("(1,)", "'<q99'", data=b"a"))), r"descr|data type"),
    "a header that is none": (zipped(("x.npy", b"\x93NUMPY\x01\x00\x05\x00(((((")), "EOF"),
    "a header without end": (zipped(("x.npy", b"\x93NUMPY\x02\x00\xff\xff\xff\xff{")), "EOF"),
    "version 3": (zipped(("x.npy", header("(1,)", version=3))), r"x is of another version"),
    "version 9": (zipped(("x.npy", header("(1,)", version=9))), r"x is of another version"),
    "one number short": (zipped(("x.npy", ONE[1][:-8])), "has 24 bytes"),
    "one number more": (zipped(("x.npy", ONE[1] + bytes(8))), "has 40 bytes"),
    "no array": (zipped(("x.txt", b"hello")), "x.txt is no array"),
    "an empty member": (zipped(("x.npy", b"")), "x is no array"),
    "a folder": (zipped(("x/", b"")), "x/ is no array"),
    "encrypted": (changed(GOOD, 6, 8, "<H", 1), "x is encrypted"),
    "unknown compression": (changed(GOOD, 8, 10, "<H", 97), "x is compressed in a way"),
    "bzip2": (zipped(ONE, method=zipfile.ZIP_BZIP2), "x is compressed in a way"),
    "a size that is not": (changed(GOOD, 22, 24, "<I", 2**31), "x is said to hold 2,147,483,648 bytes and cannot"),
    "a size deflate cannot reach": (
        changed(zipped(ONE, method=zipfile.ZIP_DEFLATED), 22, 24, "<I", 2**31), "bytes and cannot",
    ),
    "a wrong checksum": (changed(GOOD, 14, 16, "<I", 7), "CRC"),
    "a name that is no UTF-8": (changed(zipped(("\xe9.npy", ONE[1])), 30, 46, "<H", 0xFFFF), "codec"),
    "cut": (GOOD[:-30], "not a zip file"),
    "cut at its start": (GOOD[20:], "not|Bad|File|trunc"),
    "empty": (b"", "not a zip file"),
    "objects": (zipped(("x.npy", header("(1,)", "'|O'", data=b"\x80\x04N."))), "x holds Python objects"),
    "objects in a field": (zipped(("x.npy", header("(1,)", "[('a', '|O')]"))), "x holds Python objects"),
}  # fmt: skip
READERS = {
    "data": (lambda path: arrays.read("mine", path), "config.data.path"),
    "weights": (pretrained.read, "init_from"),
    "hand-over": (lambda path: warm_start.load(path, None), "init_from"),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_file_that_is_no_npz_is_one_line(tmp_path, hostile, reader):
    content, message = HOSTILE[hostile]
    read, key = READERS[reader]
    (tmp_path / "h.npz").write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match=rf"^{key}: .*h\.npz is not a readable \.npz of plain arrays") as error:
            read(str(tmp_path / "h.npz"))
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()
    assert "\n" not in str(error.value)
    assert re.search(message, str(error.value))


@pytest.mark.parametrize("names", [("x.npy", "x.npy"), ("x", "x.npy"), ("y.npy", "x.npy", "y.npy")])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_arrays_of_one_name_are_refused(tmp_path, names):
    (tmp_path / "h.npz").write_bytes(zipped(*((name, npy(np.arange(i + 1))) for i, name in enumerate(names))))
    with pytest.raises(UserError, match=r"it holds [xy] twice"):
        npz_files.read(tmp_path / "h.npz", "init_from")


def bomb(kind):
    zeros = header("(20000000,)", data=bytes(20_000_000))
    if kind == "one array":
        return zipped(("x.npy", zeros), method=zipfile.ZIP_DEFLATED)
    if kind == "many":
        return zipped(*((f"x{i}.npy", zeros) for i in range(3)), method=zipfile.ZIP_DEFLATED)
    # One member's bytes for all entries of the directory.
    content = zipped(("x.npy", zeros), method=zipfile.ZIP_DEFLATED)
    start, end = content.index(b"PK\x01\x02"), content.index(b"PK\x05\x06")
    entry = content[start:end]
    entries = b"".join(entry.replace(b"x.npy", b"%c.npy" % letter) for letter in b"abcdefgh")
    tail = bytearray(content[end:])
    struct.pack_into("<HHI", tail, 8, 8, 8, len(entries))
    return content[:start] + entries + bytes(tail)


@pytest.mark.parametrize("kind", ["one array", "many", "shared bytes"])
def test_a_bomb_is_not_unpacked(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(npz_files, "MOST", 2**20)
    (tmp_path / "bomb.npz").write_bytes(bomb(kind))
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match=r"bomb\.npz .*(unpack to|share bytes)"):
            npz_files.read(tmp_path / "bomb.npz", "init_from")
        assert tracemalloc.get_traced_memory()[1] < 5e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_what_numpy_writes_is_read_as_it_is(tmp_path, save):
    given = {
        "images": np.zeros((3, 8, 8, 3), np.uint8), "columns": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "empty": np.zeros((0, 4)), "scalar": np.array(3), "names": np.array(["ant", "b\u00e9"]),
        "big": np.arange(9, dtype=">i2"),
    }  # fmt: skip
    save(tmp_path / "a.npz", **given)
    found = npz_files.read(tmp_path / "a.npz", "key")
    assert found.keys() == given.keys()
    for name, value in given.items():
        np.testing.assert_array_equal(found[name], value)
        assert found[name].dtype == value.dtype


def blank(**changed):
    y = np.arange(8) % 2
    return {"x_train": np.zeros((8, 2, 2, 3), np.uint8), "y_train": y, "x_test": np.zeros((8, 2, 2, 3), np.uint8),
            "y_test": y} | changed  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"y_train": np.full(8, -(10**18))}, r"y_train\[0\] is -1000000000000000000, outside 0\.\.0"),
        ({"y_train": np.full(8, 2**64 - 1, np.uint64)}, "y_train holds the label 18446744073709551615"),
        ({"y_test": np.full(8, 2**63, np.uint64)}, r"y_test\[0\] is 9223372036854775808, outside 0\.\.1"),
        ({"y_train": np.full(8, 1, "m8[s]")}, r"y_train has dtype timedelta64\[s\]; labels must be integers"),
        ({"y_train": np.array(["ant"] * 8)}, r"y_train has dtype <U3; labels must be integers .*class_names the texts"),
        ({"y_train": np.ones(8, bool)}, "y_train has dtype bool; labels must be integers"),
        ({"y_train": np.ones(8, complex)}, "y_train has dtype complex128; labels must be integers"),
        ({"y_train": np.array(0)}, r"y_train has shape \(\)"),
        ({"x_train": np.zeros((8, 0, 2, 3), np.uint8)}, r"x_train has shape \(8, 0, 2, 3\): its images have no pixels"),
        ({"class_names": np.array([0x110000, 97], "<u4").view("<U1")}, "class_names are no text"),
        ({"class_names": np.array([0xD800, 97], "<u4").view("<U1")}, "class_names are no text"),
        ({"class_names": np.array([1.5, 2.5])}, "class_names are float64; they must be text"),
        ({"index_train": np.arange(-1, 7)}, "index_train holds what is no position"),
        ({"index_train": np.full(8, 2**63, np.uint64)}, "index_train holds what is no position"),
    ],
)
def test_arrays_out_of_range_are_named_with_their_file(tmp_path, changed, message):
    np.savez(tmp_path / "own.npz", **blank(**changed))
    with pytest.raises(UserError, match=rf"own\.npz: {message}"):
        arrays.read("digits", str(tmp_path / "own.npz"))


@pytest.mark.parametrize("dtype", [np.uint64, np.int8, ">i4", np.uint8])
def test_labels_of_any_integers_are_read(tmp_path, dtype):
    given = blank()
    np.savez(tmp_path / "own.npz", **blank(y_train=given["y_train"].astype(dtype)))
    found = arrays.read("mine", str(tmp_path / "own.npz"))
    assert (found.train.labels.dtype, found.train.labels.tolist()) == (np.int32, given["y_train"].tolist())
