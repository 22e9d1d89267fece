"""Files of stored logits: what comes back of what was written, and one line for each that is damaged."""

import os
import tracemalloc
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath

from gcl_jax import stored_logits
from gcl_jax.errors import UserError

NAMES, COUNTS = ("ant", "bee", "wasp é"), np.array([9, 3, 1])


def logits_of(num=10, num_classes=3, scale=1.0, seed=0):
    return (scale * np.random.default_rng(seed).standard_normal((num, num_classes))).astype(np.float32)


def write(folder, logits, labels=None, experts=None, files=None, pieces=4, names=NAMES, counts=COUNTS):
    """Store logits in pieces of that many examples; the size that is said."""
    labels = np.arange(len(logits)) % len(names) if labels is None else labels
    with stored_logits.Writer(epath.Path(folder), "test", labels, names, counts, files) as writer:
        for start in range(0, len(logits), pieces):
            piece = {"logits": logits[start : start + pieces]}
            if experts is not None:
                piece["experts"] = experts[start : start + pieces]
            writer.add(stored_logits.rounded(piece))
        return writer.finish()


@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0, 1e5])
def test_round_trip(tmp_path, scale):
    logits = logits_of(1000, scale=scale)
    labels = np.arange(1000) % 3
    size = write(tmp_path, logits, labels, files=[f"a/{i}.jpg" for i in range(1000)], pieces=300)
    found = stored_logits.read(tmp_path)
    assert size == os.path.getsize(tmp_path / "logits_test.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["logits_test.npz"]
    assert found.logits.dtype == np.float32
    assert found.labels.tolist() == labels.tolist()
    assert found.class_names == NAMES
    assert found.class_counts.tolist() == COUNTS.tolist()
    assert found.files[999] == "a/999.jpg"
    assert found.experts is None
    assert (found.logits.argmax(1) == logits.argmax(1)).all()
    top = logits.max(1, keepdims=True)
    # 2^-11 of the gap, the spacing of the smallest float16, and float32's own rounding.
    bound = (top - logits) * 2.0**-11 + 2.0**-25 + 4e-7 * np.abs(logits).max(1, keepdims=True)
    expected = np.maximum(logits, top - 65504)  # the largest float16
    assert (np.abs(found.logits - expected) <= bound).all()
    if scale == 1e5:  # float16 itself ends at 65,504 and knows 11 bits of the whole logit
        assert not (logits.clip(-65504, 65504).astype(np.float16).argmax(1) == logits.argmax(1)).all()


def test_numpy_reads_it(tmp_path):
    """Also without this package."""
    logits = logits_of()
    write(tmp_path, logits)
    with np.load(tmp_path / "logits_test.npz") as npz:
        assert sorted(npz.files) == ["class_counts", "class_names", "label", "logits", "top", "version"]
        assert npz["logits"].dtype == np.float16
        assert npz["version"] == 1
        np.testing.assert_array_equal(npz["logits"].astype(np.float32) + npz["top"][:, None],
                                      stored_logits.read(tmp_path).logits)  # fmt: skip


@pytest.mark.parametrize("num_experts", [1, 3])
def test_experts(tmp_path, num_experts):
    experts = np.stack([logits_of(seed=i) for i in range(num_experts)], axis=1)
    write(tmp_path, experts.mean(1), experts=experts)
    assert stored_logits.read(tmp_path).experts is None  # three times as much: only if asked for
    found = stored_logits.read(tmp_path, experts=True)
    assert found.experts.shape == (10, num_experts, 3)
    np.testing.assert_allclose(found.experts, experts, atol=4e-3)
    np.testing.assert_allclose(found.logits, experts.mean(1), atol=4e-3)


def test_what_is_not_finite():
    z = np.array([[np.inf, 1, -np.inf], [1, 2, np.nan], [-3e38, 3e38, 0], [-np.inf] * 3], np.float32)
    ours = stored_logits.rounded({"logits": z})
    gap = ours["logits"]
    assert gap.dtype == np.float16
    assert gap[0].tolist() == [0, -65504, -65504]
    assert np.isnan(gap[1]).all()
    assert gap[2].tolist() == [-65504, 0, -65504]
    assert gap[3].tolist() == [0, 0, 0]
    assert np.isfinite(ours["top"][[0, 2, 3]]).all()


def test_on_the_device_as_on_the_host():
    outputs = {"logits": logits_of(50, 7, 20.0), "experts": logits_of(100, 7, 20.0).reshape(50, 2, 7)}
    theirs = jax.jit(stored_logits.rounded)(jax.tree.map(jnp.asarray, outputs))
    ours = stored_logits.rounded(outputs)
    assert ours.keys() == theirs.keys() == {"logits", "top", "experts", "experts_top"}
    for name, value in ours.items():
        assert theirs[name].dtype == value.dtype
        np.testing.assert_array_equal(theirs[name], value)


def test_equal_logits_make_equal_files(tmp_path):
    logits, found = logits_of(), []
    for name, pieces in (("a", 3), ("b", 10)):
        (tmp_path / name).mkdir()
        write(tmp_path / name, logits, pieces=pieces)
        found.append((tmp_path / name / "logits_test.npz").read_bytes())
    assert found[0] == found[1]


def test_size_and_memory_of_many_classes(tmp_path):
    """Two bytes a number; in memory there are pieces while writing, and one float32 array after reading."""
    num, num_classes = 1500, 8142
    names, counts = tuple(f"species {i}" for i in range(num_classes)), np.arange(num_classes) + 1
    whole = 4 * num * num_classes

    def made(rows):
        return stored_logits.rounded({"logits": np.full((rows, num_classes), 0.5, np.float32)})

    tracemalloc.start()
    try:
        labels = np.arange(num)
        with stored_logits.Writer(tmp_path, "test", labels, names, counts) as writer:
            for _ in range(0, num, 100):
                writer.add(made(100))
            size = writer.finish()
        assert tracemalloc.get_traced_memory()[1] < 0.5 * whole
        tracemalloc.reset_peak()
        found = stored_logits.read(tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 1.3 * whole
    finally:
        tracemalloc.stop()
    assert found.logits.shape == (num, num_classes)
    assert size < 2 * num * num_classes + 200_000


@pytest.mark.parametrize("after", ["add", "nothing", "too few"])
def test_an_older_file_stays_where_writing_fails(tmp_path, after):
    write(tmp_path, logits_of())
    before = (tmp_path / "logits_test.npz").read_bytes()

    def fail():
        with stored_logits.Writer(tmp_path, "test", np.arange(10) % 3, NAMES, COUNTS) as writer:
            if after != "nothing":
                writer.add(stored_logits.rounded({"logits": logits_of(seed=1)[:5]}))
            if after == "too few":
                writer.finish()
            raise KeyError

    with pytest.raises(ValueError if after == "too few" else KeyError):
        fail()
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("logits_test.npz", before)]


def rewritten(file, **arrays):
    """``file`` with other arrays, or without those that are None."""
    with np.load(file) as npz:
        found = {name: npz[name] for name in npz.files} | arrays
    np.savez(file, **{name: value for name, value in found.items() if value is not None})


def flip(file):
    content = bytearray(file.read_bytes())
    content[200] ^= 1  # of the logits
    file.write_bytes(content)


DAMAGE = {
    "cut": lambda file: os.truncate(file, 300),
    "empty": lambda file: os.truncate(file, 0),
    "a bit": flip,
    "no zip": lambda file: file.write_text("not a zip"),
    "no labels": lambda file: rewritten(file, label=None),
    "other labels": lambda file: rewritten(file, label=np.arange(9)),
    "other classes": lambda file: rewritten(file, class_names=np.array(["a", "b"])),
    "other counts": lambda file: rewritten(file, class_counts=np.arange(4)),
    "no top": lambda file: rewritten(file, top=None),
    "other top": lambda file: rewritten(file, top=np.zeros(9, np.float32)),
    "float32": lambda file: rewritten(file, logits=np.zeros((10, 3), np.float32)),
    "columns": lambda file: rewritten(file, logits=np.asfortranarray(np.zeros((10, 3), np.float16))),
    "objects": lambda file: rewritten(file, label=np.array([None] * 10)),
    "other experts": lambda file: rewritten(
        file, experts=np.zeros((10, 2, 4), np.float16), experts_top=np.zeros((10, 2), np.float32)
    ),
    "version": lambda file: rewritten(file, version=np.int64(2)),
    "a folder": lambda file: (file.unlink(), file.mkdir()),
    "a pipe": lambda file: (file.unlink(), os.mkfifo(file)),
    "nothing": lambda file: file.unlink(),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_one_line(tmp_path, name):
    file = tmp_path / "logits_test.npz"
    write(tmp_path, logits_of())
    DAMAGE[name](file)
    with pytest.raises(UserError) as error:
        stored_logits.read(tmp_path, experts=True)
    text = str(error.value)
    assert str(file) in text
    assert "\n" not in text
    if name not in ("a folder", "a pipe"):
        assert "--eval_only" in text
        assert "one forward pass" in text


def test_a_header_that_asks_for_more_than_there_is(tmp_path):
    """Without taking the memory for it."""
    write(tmp_path, logits_of())
    with zipfile.ZipFile(tmp_path / "logits_test.npz", "w") as archive, archive.open("version.npy", "w") as stream:
        np.lib.format.write_array_header_1_0(stream, {"descr": "<f2", "fortran_order": False, "shape": (10**12, 10**6)})
    with pytest.raises(UserError, match=r"is damaged \(version is said to be float16"):
        stored_logits.read(tmp_path)
