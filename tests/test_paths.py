"""Paths that a user names are taken as they are written: no character of theirs is a pattern."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath
from tiny import digits, override

from gcl_jax import json_files, paths, trained
from gcl_jax.checkpoints import checkpoint, integrity, warm_start
from gcl_jax.errors import UserError
from gcl_jax.training import experiment
from gcl_jax.workdir import ownership
from gcl_jax.workdir.run_dir import RunDir

NAMES = [
    "run[1]", "a*b", "a?b", "{x}", "[!a]", "[", "[[]", "x**y", "**", "sp ace", "q'uo\"te", "ü", "-x", "dot.", "~",
    "a*b/run[1]", "%41", "a#b", "a:b", "$HOME", "new\nline",
]  # fmt: skip


@pytest.fixture(params=NAMES)
def folder(request, tmp_path):
    """A folder with that name, beside others that its name would match as a pattern."""
    for decoy in ("run1", "axb", "axb/run1", "b", "x", "a#c"):
        (tmp_path / decoy / "seed_7" / "representation" / "checkpoints" / "9").mkdir(parents=True, exist_ok=True)
        (tmp_path / decoy / "seed_7" / "result.json").write_text("{}")
    found = epath.Path(tmp_path / request.param)
    found.mkdir(parents=True)
    return found


def test_only_the_pattern_is_a_pattern(folder):
    assert paths.matching(folder, "*") == paths.matching(folder / "none", "*") == []
    for name in ("seed_0/a", "seed_0/b[1]", "seed_1/a", ".hidden/a", "file"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("")
    for where in (folder, paths.LiteralPath(folder)):
        found = [path.relative_to(folder) for path in paths.matching(where, "seed_*/[a-c]*")]
        assert list(map(str, found)) == ["seed_0/a", "seed_0/b[1]", "seed_1/a"]
    assert [path.name for path in paths.LiteralPath(folder).glob("*")] == ["file", "seed_0", "seed_1"]
    assert paths.matching(folder, "seed_1/a") == [folder / "seed_1" / "a"]
    assert paths.matching(folder, "*/none") == []


def test_a_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(epath.Path(tmp_path)), "iterdir", refuse)
    with pytest.raises(UserError, match=r"cannot be read \(Permission denied\): see to its rights"):
        paths.matching(epath.Path(tmp_path), "seed_*")


def test_a_tilde_is_the_home_folder_only_where_it_leads(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    assert str(paths.given("~/a")) == f"{tmp_path}/home/a"
    assert str(paths.given("./~")) == f"{tmp_path}/~"
    assert str(paths.given("a/~")) == f"{tmp_path}/a/~"


def test_a_checkpoint_is_read_back(folder):
    """Orbax globs below the folder, too: without a literal path it leaves arrays that nobody finds."""
    tree = {"params": {"head": np.arange(3, dtype=np.float32)}}
    with checkpoint.Checkpoints(folder / "checkpoints", 1) as checkpoints:
        checkpoints.save(3, tree, {"of": "it"})
        checkpoints.wait()
        restored, note = checkpoints.restore(3, {"params": {"head": jnp.zeros(3)}})
    np.testing.assert_array_equal(restored["params"]["head"], tree["params"]["head"])
    found, note, step = checkpoint.read(folder / "checkpoints")
    np.testing.assert_array_equal(found["params/head"], tree["params"]["head"])
    assert (note["of"], step) == ("it", 3)
    integrity.quarantine_folder(folder).mkdir()
    integrity.refuse_to_start_over(folder)  # there is a good one


def test_a_backslash_is_refused_before_arrays_lie_elsewhere(tmp_path):
    for place in (tmp_path / "a\\b", tmp_path / "a\\b" / "run", tmp_path / "back\\"):
        for use in (checkpoint.read, lambda place: checkpoint.Checkpoints(place, 1)):
            with pytest.raises(UserError, match=r"has a backslash in its path, which TensorStore takes for a slash"):
                use(epath.Path(place))
        with pytest.raises(UserError, match="has a backslash in its path"):
            experiment.run(digits(), str(place))
    assert not list(tmp_path.iterdir())


def test_a_run_is_known_for_what_it_is(folder):
    """Whose it is, where its network lies, and what another run starts from."""
    config = override(digits(), {"num_seeds": 2})
    assert not ownership._holds_something(folder)
    for seed in (0, 1):
        (folder / f"seed_{seed}" / "representation" / "checkpoints" / "3").mkdir(parents=True)
    json_files.write(folder / "config.json", {"training": {"seed": 0}, "config": config.to_dict()})
    with pytest.raises(UserError, match=r"holds a run of another config \(config\.seed: 0 -> 1\)"):
        ownership.compare(folder, {"seed": 1})
    (folder / "seed_0" / "representation" / "DONE.json").write_text("{}")
    assert trained.locate(str(folder))[1:] == (folder / "seed_0", "representation")
    assert warm_start.seed_folder(str(folder), 1) == str(folder / "seed_1")
    with pytest.raises(UserError, match="is a run of several seeds, but not of seed 7"):
        warm_start.seed_folder(str(folder), 7)
    with pytest.raises(UserError, match=r"seed_1.representation is not finished"):
        warm_start.load(warm_start.seed_folder(str(folder), 1), "representation")


def test_seeds_of_other_folders_are_not_among_the_results(folder):
    one = {"stages": {"a": {"final": {"test": {"accuracy": 1.0}}}}}
    run_dir = RunDir(folder, override(digits(), {"num_seeds": 2}), per_seed=True)
    run_dir.write_result({0: one})
    assert list(json.loads((folder / "result.json").read_text())["seeds"]) == ["seed_0"]


@pytest.mark.slow
def test_a_run_in_such_a_folder_is_one_like_any_other(tmp_path, quick_compilation):
    """Another seed is refused, its own goes on, --eval_only and init_from find it."""
    short = {"representation.epochs": 1, "stages": ("representation",), "eval.every_epochs": 1}
    place = tmp_path / "a*b" / "run[1]"
    result = experiment.run(override(digits(), short), place)
    with pytest.raises(UserError, match=r"holds a run of another config \(config\.seed: 0 -> 1\)"):
        experiment.run(override(digits(), short | {"seed": 1}), place)
    found = experiment.run(override(digits(), short), place, eval_only=True)
    assert found["final"]["test"]["correct"] == result["final"]["test"]["correct"]
    start = override(digits(), {"classifier.init_from": str(place), "classifier.epochs": 1})
    assert experiment.run(start, tmp_path / "[2]")["stages"].keys() == {"classifier"}


@pytest.mark.parametrize("path", ["a\0b", "\0", "runs/x\0", "~/\0"])
def test_no_name_has_the_character_0(path):
    with pytest.raises(UserError, match=r"holds the character"):
        paths.given(path)
