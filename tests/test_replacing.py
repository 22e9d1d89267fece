"""A full disk, or whatever else goes wrong in the middle, leaves the older file as it was, and nothing beside it."""

import os
import resource
import stat

import numpy as np
import pytest
from etils import epath
from ml_collections import ConfigDict
from PIL import Image

from gcl_jax import export, json_files, logs, metrics, predict, stored_logits, trained
from gcl_jax.errors import UserError
from gcl_jax.replacing import replacing
from gcl_jax.report import embedding, figure
from gcl_jax.runtime import compilation_cache
from gcl_jax.table import files
from gcl_jax.training.stage_run import save_predictions
from gcl_jax.workdir import results

LINES = b'{"stage": "a", "step": 1, "kind": "train"}\n' * 99 + b'{"stage": "a", "step": 2, "kind": "train"}\n'


class Network:
    """What predict and export take of a trained network."""

    image_shape, class_names, stage, resize = (8, 8, 1), ("a", "b"), "representation", 8
    config = ConfigDict({"data": {"mean": (0.5,), "std": (0.5,)}})

    def described(self, workdir):
        return "a network"


def write_table(folder):
    files.write(folder, "table1", "command", {".md": "command\n", ".csv": "y" * 9999})


def write_predictions(folder):
    found = np.random.default_rng(0).permutation(9999) % 2
    save_predictions(epath.Path(folder), {"test": metrics.Predictions(found, found, found, found / 1.0, found / 1.0)})


def write_logits(folder):
    logits = np.random.default_rng(0).normal(size=(999, 3)).astype(np.float32)
    with stored_logits.Writer(epath.Path(folder), "test", np.arange(999) % 3, tuple("abc"), np.arange(3)) as writer:
        writer.add(stored_logits.rounded({"logits": logits}))
        writer.finish()


def write_figure(folder):
    features = embedding.unit(np.random.default_rng(0).normal(size=(20, 4)))
    one = embedding.Embedding(features, np.arange(20) % 2, np.array([5, 3]), ("a", "b"))
    figure.draw([("one", one)], folder / "embedding.png")


# What writes, and the files that were there before with what was in them.
WRITERS = {
    "json": (lambda folder: json_files.write(folder / "a.json", ["x" * 9999]), {"a.json": b"old"}),
    "table": (write_table, {"table1.md": b"another", "table1.csv": b"old"}),
    "lines": (lambda f: logs.MetricsLog(epath.Path(f / "metrics.jsonl")).cut_back("a", 1), {"metrics.jsonl": LINES}),
    "predictions": (write_predictions, {"predictions_test.npz": b"old"}),
    "logits": (write_logits, {"logits_test.npz": b"old"}),
    "figure": (write_figure, {"embedding.png": b"old"}),
    "export": (
        lambda folder: export.main(["--workdir=run", f"--out={folder}"]),
        {"model.stablehlo": b"old", "model.json": b"old"},
    ),
    "csv": (
        lambda f: predict.main(["--workdir=run", f"--csv={f / 'a.csv'}", *[str(f.parent / "i.png")] * 99]),
        {"a.csv": b"old"},
    ),
}


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n == "figure")) for n in WRITERS])
def test_a_full_disk_leaves_the_older_files(tmp_path, monkeypatch, name):
    """No file may grow beyond 200 bytes: Linux then says "File too large", as it says "No space left"."""
    monkeypatch.setattr(trained, "read", lambda *_: Network())
    monkeypatch.setattr(compilation_cache, "use", lambda: None)
    monkeypatch.setattr(predict, "predict", lambda network, paths, on_bad: np.full((len(paths), 2), 0.5))
    monkeypatch.setattr(export, "serialized", lambda network: bytes(9999))
    monkeypatch.setattr(results, "environment", dict)
    Image.new("L", (8, 8)).save(tmp_path / "i.png")
    (tmp_path / "out").mkdir()
    write, old = WRITERS[name]
    for one, content in old.items():
        (tmp_path / "out" / one).write_bytes(content)
    before, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, hard))
    try:
        with pytest.raises((UserError, SystemExit), match=r"could not be written .File too large.*untouched"):
            write(tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, hard))
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == old
    write(tmp_path / "out")
    assert all((tmp_path / "out" / one).read_bytes() != content for one, content in old.items())


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt(), ValueError("x")])
def test_whatever_goes_wrong(tmp_path, error):
    (tmp_path / "a").write_text("old")

    def write():
        with replacing(tmp_path / "a") as new:
            new.write_text("half")
            raise error

    with pytest.raises(UserError if isinstance(error, OSError) else type(error)):
        write()
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a", "old")]


def test_what_is_in_the_place(tmp_path):
    """Links stay links, rights stay, a device is written itself, and names may be as long as they may."""
    (tmp_path / "a").write_text("old")
    (tmp_path / "a").chmod(0o640)
    (tmp_path / "link").symlink_to(tmp_path / "a")
    with replacing(epath.Path(tmp_path) / "link") as new:
        new.write_text("new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "a").read_text() == "new"
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640
    (tmp_path / "null").symlink_to(os.devnull)
    with replacing(tmp_path / "null") as new:
        new.write_text("new")
    assert not os.path.isfile(os.devnull)
    with replacing(tmp_path / ("n" * 255)) as new:
        new.write_text("new")
    (tmp_path / "folder").mkdir()
    with (
        pytest.raises(UserError, match=r"folder could not be written \(Is a directory\)"),
        replacing(tmp_path / "folder"),
    ):
        pass
