"""What a stage does not train is saved once, beside its checkpoints, and never lost."""

import errno
import os
import pathlib
import shutil

import numpy as np
import pytest
from etils import epath
from tiny import digits, override

from gcl_jax.checkpoints import checkpoint, frozen
from gcl_jax.errors import UserError
from gcl_jax.paths import done_file
from gcl_jax.training import experiment

pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of both stages."""
    folder = tmp_path_factory.mktemp("frozen") / "run"
    experiment.run(digits(), str(folder))
    return folder


@pytest.fixture
def run(finished, tmp_path):
    return epath.Path(shutil.copytree(finished, tmp_path / "run"))


def kept(stage):
    (file,) = stage.glob("frozen_*.npz")
    return file


def read(run):
    return checkpoint.read(run / "classifier" / "checkpoints")


def test_the_backbone_lies_in_one_file(run):
    arrays, note, _ = read(run)
    names = set(note["frozen"]["names"])
    assert names == {name for name in arrays if name.startswith(("params/backbone/", "batch_stats/backbone/"))}
    assert not names & set(note["arrays"])
    before, _, _ = checkpoint.read(run / "representation" / "checkpoints")
    for name in names:
        np.testing.assert_array_equal(arrays[name], before[name])
    assert not list((run / "representation").glob("frozen_*"))  # all of it trains
    files = pathlib.Path(run / "classifier" / "checkpoints").rglob("*")
    assert sum(file.stat().st_size for file in files if file.is_file()) < os.path.getsize(
        kept(run / "classifier")
    )  # of two checkpoints


@pytest.mark.parametrize("harm", ["missing", "cut", "changed", "empty"])
def test_a_file_that_is_lost_is_made_again(run, harm):
    """From what the stage started from, when its run goes on; until then one line says so."""
    expected, _, _ = read(run)
    file = kept(run / "classifier")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.unlink()
    if harm != "missing":
        file.write_bytes({"cut": content[:1000], "changed": bytes(content), "empty": b""}[harm])
    with pytest.raises(UserError, match=f"frozen_.*npz is {'missing' if harm == 'missing' else 'not what was saved'}"):
        read(run)
    done_file(run, "classifier").unlink()
    (run / "result.json").unlink()
    shutil.rmtree(run / "classifier" / "checkpoints" / str(max(steps(run))))  # the last, so that one is saved again
    experiment.run(digits(), str(run))
    found, _, _ = read(run)
    assert found.keys() == expected.keys()
    for name in found:
        np.testing.assert_array_equal(found[name], expected[name])


@pytest.mark.parametrize("harm", ["missing", "changed"])
def test_a_stage_that_only_lacked_its_end_makes_it_again(run, harm):
    """Killed between its last checkpoint and DONE.json: nothing is saved any more that would need the file."""
    expected, _, _ = read(run)
    file = kept(run / "classifier")
    if harm == "missing":
        file.unlink()
    else:
        file.write_bytes(b"")
    done_file(run, "classifier").unlink()
    (run / "result.json").unlink()
    experiment.run(digits(), str(run))
    found, _, _ = read(run)
    assert found.keys() == expected.keys()


def test_damage_anywhere_in_the_file_is_known(tmp_path):
    """Whatever zipfile and numpy make of it: also a version, a method and a flag that they do not know."""
    checkpoints = epath.Path(tmp_path) / "stage" / "checkpoints"
    checkpoints.mkdir(parents=True)
    note = {"digest": frozen.write(checkpoints, {"params/w": np.arange(3, dtype=np.float32)})}
    file = kept(checkpoints.parent)
    whole = file.read_bytes()
    for place in range(len(whole)):
        for bits in (1, 128, 255):
            file.write_bytes(whole[:place] + bytes([whole[place] ^ bits]) + whole[place + 1 :])
            try:
                arrays = frozen.read(checkpoints, note)
            except UserError:
                continue
            assert frozen.digest(arrays) == note["digest"]


def test_a_full_disk_leaves_the_other_seeds_file_whole(tmp_path, monkeypatch):
    """Where a kill left a link to it under the name that is written to."""
    seeds = [epath.Path(tmp_path) / seed / "stage" / "checkpoints" for seed in ("seed_0", "seed_1")]
    for checkpoints in seeds:
        checkpoints.mkdir(parents=True)
    arrays = {"params/w": np.arange(9, dtype=np.float32)}
    note = {"digest": frozen.write(seeds[0], arrays)}
    file = kept(seeds[0].parent)
    left = seeds[1].parent / f".{file.name}.tmp"
    os.link(file, left)

    def full(stream, **arrays):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(np, "savez", full)
    monkeypatch.setattr(frozen, "_other_seed_folders", lambda seed: [])
    with pytest.raises(UserError, match="No space left"):
        frozen.write(seeds[1], arrays)
    frozen.read(seeds[0], note)


def test_the_best_checkpoint_has_it_from_its_stage(tmp_path):
    """Also where it is saved before any other: one file, which both find."""
    config = override(digits(), {"data.validation_fraction": 0.1, "checkpoint.every_steps": 1000})
    experiment.run(config, str(tmp_path / "run"))
    stage = epath.Path(tmp_path) / "run" / "classifier"
    assert [file.parent for file in pathlib.Path(stage).rglob("frozen_*")] == [pathlib.Path(stage)]
    for folder in (stage, stage / "best_on_validation"):
        arrays, note, _ = checkpoint.read(folder / "checkpoints")
        assert set(note["frozen"]["names"]) <= set(arrays)


def steps(run):
    return [int(path.name) for path in (run / "classifier" / "checkpoints").iterdir() if path.name.isdecimal()]


def test_another_stage_starts_from_it(run, tmp_path):
    """From the run, and from a copied checkpoint with the file beside it; without it the line says what to copy."""
    copy = tmp_path / "copy" / "checkpoints"
    copy.mkdir(parents=True)
    step = max(steps(run))
    shutil.copytree(run / "classifier" / "checkpoints" / str(step), copy / str(step))
    config = override(digits(), {"stages": ("classifier",), "classifier.init_from": str(copy / str(step))})
    with pytest.raises(UserError, match=r"frozen_.*npz is missing.*beside the folder checkpoints"):
        experiment.run(config, str(tmp_path / "other"))
    shutil.copy(kept(run / "classifier"), tmp_path / "copy")
    result = experiment.run(config, str(tmp_path / "other"))
    config.classifier.init_from = str(run / "classifier")
    again = experiment.run(config, str(tmp_path / "again"))
    assert result["stages"]["classifier"]["final"] == again["stages"]["classifier"]["final"]


def test_seeds_that_start_alike_share_its_bytes(run, tmp_path):
    config = override(
        digits(), {"stages": ("classifier",), "classifier.init_from": str(run / "representation"), "num_seeds": 2}
    )
    experiment.run(config, str(tmp_path / "seeds"))
    first, second = (kept(tmp_path / "seeds" / f"seed_{seed}" / "classifier") for seed in (0, 1))
    assert first.stat().st_ino == second.stat().st_ino


def test_the_digest_is_of_names_types_shapes_and_values():
    base = {"a": np.arange(4, dtype=np.float32)}
    others = [
        {"b": base["a"]},
        {"a": base["a"].astype(np.float64)},
        {"a": base["a"].reshape(2, 2)},
        {"a": base["a"] + 1},
        {"a": np.array([-0.0, 1, 2, 3], np.float32)},
        {},
    ]
    assert len({frozen.digest(arrays) for arrays in [base, *others]}) == 7
