"""Sources, the long-tailed cut, and the two loaders' one contract."""

import hashlib
import subprocess
import sys
import types

import jax
import numpy as np
import pytest
from tiny import load_config

from gcl_jax import data, longtail
from gcl_jax.data import arrays, digits
from gcl_jax.data.dataset import Source, Split
from gcl_jax.errors import UserError
from gcl_jax.runtime import mesh


def cut(source, **overrides):
    return data.cut(source, **({"profile": "exponential", "imbalance_ratio": 100.0} | overrides))


def blank(num=200, classes=4, test=8):
    images = np.random.RandomState(0).randint(0, 256, (num + test, 6, 6, 3)).astype(np.uint8)
    labels = (np.arange(num + test) % classes).astype(np.int32)
    return {"x_train": images[:num], "y_train": labels[:num], "x_test": images[num:], "y_test": labels[num:]}


def write(path, **arrays_by_name):
    np.savez(path, **arrays_by_name)
    return str(path)


# Long-tailed subsets of real CIFAR.


@pytest.fixture(scope="session")
def cifar_npz(cifar_tool, tmp_path_factory):
    """{name: npz of the whole data set}; CIFAR-100 too, which is there."""
    folder = tmp_path_factory.mktemp("cifar")
    for name in ("cifar10", "cifar100"):
        subprocess.run([sys.executable, cifar_tool, "npz", name, folder / f"{name}.npz"], check=True)
    return {name: folder / f"{name}.npz" for name in ("cifar10", "cifar100")}


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_every_reference_subset(cifar_npz, subsets, name):
    source = arrays.read(name, str(cifar_npz[name]))
    checked = 0
    for key, expected in subsets.items():
        if key.split("/")[0] == name:
            dataset = cut(source, imbalance_ratio=float(key.split("/")[1]))
            train = dataset.splits["train"]
            assert dataset.counts.tolist() == expected["class_counts"]
            assert len(train) == expected["num_train"]
            assert longtail.subset_sha256(dataset.positions) == expected["index_int64_sha256"]
            assert dataset.positions[:5].tolist() == expected["first_indices"]
            assert int(train.images.sum(dtype=np.int64)) == expected["pixel_sum"]
            checked += 1
    assert checked == 5


def test_a_pack_serves_every_ratio_from_its_own_up(cifar_npz, subsets, tmp_path):
    """A pack at ratio 50 gives the subsets of 50, 100 and 200, and refuses 20 by name."""
    whole = arrays.read("cifar10", str(cifar_npz["cifar10"]))
    at_50 = cut(whole, imbalance_ratio=50.0)
    pack = write(
        tmp_path / "pack.npz",
        x_train=at_50.splits["train"].images, y_train=at_50.splits["train"].labels, index_train=at_50.positions,
        x_test=whole.test.images[:10], y_test=whole.test.labels[:10],
    )  # fmt: skip
    source = arrays.read("cifar10", pack)
    for ratio in (50, 100, 200):
        dataset = cut(source, imbalance_ratio=float(ratio))
        expected = subsets[f"cifar10/{ratio}"]
        assert longtail.subset_sha256(dataset.positions) == expected["index_int64_sha256"]
        assert int(dataset.splits["train"].images.sum(dtype=np.int64)) == expected["pixel_sum"]
    with pytest.raises(UserError, match=r"class 1 has 3237 training images but the imbalance profile asks for 3584"):
        cut(source, imbalance_ratio=20.0)


@pytest.mark.slow
def test_tfds_gives_the_published_order(cifar_tool, cifar_npz, tmp_path):
    pytest.importorskip("tensorflow_datasets")
    subprocess.run([sys.executable, cifar_tool, "tfds", "cifar10", tmp_path], check=True, capture_output=True)
    from gcl_jax.data import tfds

    ours, expected = tfds.read("cifar10", str(tmp_path)), arrays.read("cifar10", str(cifar_npz["cifar10"]))
    for part in ("train", "test"):
        np.testing.assert_array_equal(getattr(ours, part).images, getattr(expected, part).images)
        np.testing.assert_array_equal(getattr(ours, part).labels, getattr(expected, part).labels)
    assert ours.class_names[0] == "airplane"


def test_missing_tfds_data_fail_at_once(tmp_path, monkeypatch):
    pytest.importorskip("tensorflow_datasets")
    from gcl_jax.data import tfds

    def refuse(*args, **kwargs):
        raise OSError("no route")

    monkeypatch.setattr(tfds.socket, "create_connection", refuse)
    with pytest.raises(
        UserError, match=r"cifar10 is not prepared in .*--config.data.path=DIR.*--config.data.source=arrays"
    ):
        tfds.read("cifar10", str(tmp_path))
    with pytest.raises(UserError, match="reads one of cifar10, cifar100"):
        tfds.read("cifar11", str(tmp_path))


class _Damaged:
    """A prepared builder of TFDS whose files are not what they should be."""

    def __init__(self, found):
        self.found, self.info = found, types.SimpleNamespace(features={"label": types.SimpleNamespace(names=["a"])})

    def is_prepared(self):
        return True

    def as_dataset(self, **_):
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (RuntimeError("corrupted record at 12 [Op:IteratorGetNext]"), "corrupted record at 12"),
        (FileNotFoundError(2, "No such file", "cifar10-train.tfrecord"), "No such file"),
        ({"id": np.array([b"train_1"]), "label": np.array([1])}, "'image'"),
        ({"id": np.array([b"one"]), "image": np.zeros((1, 2, 2, 3)), "label": np.array([1])}, "index out of range"),
    ],
)
def test_damaged_tfds_data_are_one_line(tmp_path, monkeypatch, found, told):
    tfds_library = pytest.importorskip("tensorflow_datasets")
    from gcl_jax.data import tfds

    monkeypatch.setattr(tfds.tfds_folder, "builder", lambda name, path: _Damaged(found))
    monkeypatch.setattr(tfds_library, "as_numpy", lambda batch: batch)
    with pytest.raises(UserError, match=f"^cifar10 in .* cannot be read .*{told}.*: prepare it again") as error:
        tfds.read("cifar10", str(tmp_path))
    assert "\n" not in str(error.value)


# The digits.


def test_digits_are_balanced_before_the_cut_and_in_the_test_set():
    source = data.cut(digits.read("digits", ""), profile="none", imbalance_ratio=1.0)
    assert source.counts.tolist() == [124] * 10
    assert np.bincount(source.splits["test"].labels).tolist() == [50] * 10
    train, test = ({hashlib.sha1(x).digest() for x in source.splits[s].images} for s in ("train", "test"))
    assert not train & test


# Bad files and arrays.


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"there is no file .*nowhere\.npz"):
        arrays.read("mine", str(tmp_path / "nowhere.npz"))
    with pytest.raises(UserError, match=r"needs --config\.data\.path=FILE\.npz"):
        arrays.read("mine", "")


@pytest.mark.parametrize("damage", ["text", "empty", "truncated", "flipped"])
def test_a_corrupt_file_is_named(tmp_path, damage):
    path = tmp_path / "mine.npz"
    write(path, **blank())
    whole = path.read_bytes()
    middle = len(whole) // 2
    damaged = {
        "text": b"not an archive",
        "empty": b"",
        "truncated": whole[:middle],
        "flipped": whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :],
    }
    path.write_bytes(damaged[damage])
    with pytest.raises(UserError, match=r"mine\.npz is not a readable \.npz"):
        arrays.read("mine", str(path))


def test_pickled_objects_are_refused(tmp_path):
    path = write(tmp_path / "evil.npz", **(blank() | {"y_train": np.array([object()] * 200)}))
    with pytest.raises(UserError, match="not a readable"):
        arrays.read("mine", path)


def test_class_names_can_be_bytes(tmp_path):
    names = np.array(["ant", "bee", "cat", "d\u00f6g"])
    for given in (names, np.char.encode(names, "utf-8")):
        found = arrays.read("mine", write(tmp_path / "mine.npz", **blank(), class_names=given))
        assert found.class_names == tuple(names)


def test_missing_arrays_are_named(tmp_path):
    some = blank()
    del some["y_test"]
    with pytest.raises(UserError, match="lacks y_test"):
        arrays.read("mine", write(tmp_path / "mine.npz", **some))


BAD = [
    (lambda a: a | {"y_train": np.where(np.arange(200) == 7, -1, a["y_train"])}, r"y_train\[7\] is -1, outside 0\.\.3"),
    (lambda a: a | {"y_test": a["y_test"] + 2}, r"y_test\[2\] is 4, outside 0\.\.3 \(4 labels are"),
    (lambda a: a | {"x_train": a["x_train"][:-1]}, r"y_train has shape \(200,\) but .*x_train holds 199 images"),
    (lambda a: a | {"x_test": a["x_test"][:, :5]}, r"training images are \(6, 6, 3\) but test images \(5, 6, 3\)"),
    (lambda a: a | {"x_train": a["x_train"].astype(np.float32)}, "x_train has dtype float32; images must be uint8"),
    (lambda a: a | {"x_train": np.full((200, 6, 6, 3), np.nan)}, "x_train has dtype float64; images must be uint8"),
    (lambda a: a | {"x_train": a["x_train"][..., 0]}, r"x_train has shape \(200, 6, 6\); it must be"),
    (lambda a: a | {"y_train": a["y_train"].astype(np.float32)}, "y_train has dtype float32; labels must be integers"),
    (lambda a: a | {"y_train": np.where(a["y_train"] == 2, 3, a["y_train"])}, r"class 2 \(2\) has no training image"),
    (lambda a: a | {"x_test": a["x_test"][:0], "y_test": a["y_test"][:0]}, "x_test is empty"),
    (lambda a: a | {"index_train": np.arange(200.0)}, r"index_train is float64\[200\]; it must be a list of integers"),
    (lambda a: a | {"y_train": a["y_train"] + 3 * 10**8}, r"y_train holds the label 300000003"),
    (lambda a: a | {"index_train": np.arange(3)}, "index_train has 3 entries for 200"),
]  # fmt: skip


@pytest.mark.parametrize(("spoil", "message"), BAD)
def test_arrays_that_do_not_fit_are_named(tmp_path, spoil, message):
    path = write(tmp_path / "mine.npz", **spoil(blank()))
    with pytest.raises(UserError, match=message):
        cut(arrays.read("mine", path), imbalance_ratio=2.0)


# Validation part, fingerprint, loaders.


def test_validation_comes_from_training_by_class():
    source = digits.read("digits", "")
    without, dataset = cut(source), cut(source, validation_fraction=0.2)
    held = np.bincount(dataset.splits["validation"].labels, minlength=10)
    assert (dataset.counts >= 1).all()
    assert (dataset.counts + held).tolist() == without.counts.tolist()
    assert held[:4].tolist() == [round(0.2 * n) for n in without.counts[:4]]
    assert dataset.fingerprint != without.fingerprint


def test_the_fingerprint_sees_every_pixel_and_label():
    a = blank()

    def dataset(**changed):
        b = a | changed
        names = tuple("abcd")
        return cut(
            Source("x", Split(b["x_train"], b["y_train"]), Split(b["x_test"], b["y_test"]), names), profile="none"
        )

    pixel = a["x_test"].copy()
    pixel[-1, -1, -1, -1] ^= 1
    assert dataset().fingerprint == dataset().fingerprint != dataset(x_test=pixel).fingerprint
    assert dataset().fingerprint != dataset(y_test=a["y_test"][::-1].copy()).fingerprint


def test_host_and_device_loaders_deliver_the_same_batches():
    pytest.importorskip("tensorflow")
    dataset = cut(digits.read("digits", ""))
    grid = mesh.make_mesh()
    plan = {"main": np.random.RandomState(0).randint(0, 304, (5, 8)).astype(np.int32),
            "tail": np.random.RandomState(1).randint(0, 304, (5, 8)).astype(np.int32)}  # fmt: skip
    batches = []
    for name in ("device", "host"):
        loader = data.make_loader(name, dataset, grid)
        fetched = [
            {s: loader.fetch(loader.arrays("train"), row[s]) for s in plan} for row in loader.rows("train", plan)
        ]
        batches.append(jax.device_get(fetched))
    assert len(batches[0]) == 5
    jax.tree.map(np.testing.assert_array_equal, *batches)
    assert batches[1][0]["main"][0].dtype == np.uint8


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
@pytest.mark.parametrize("method", ["ce", "ce_mixup", "gcl", "gcl_published"])
def test_config_argument_is_the_imbalance_ratio(name, method):
    assert load_config(f"{name}_lt:{method}", "50").data.imbalance_ratio == 50.0
