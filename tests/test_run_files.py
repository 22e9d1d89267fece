"""Files of a run that hold well-formed JSON of another shape, or cannot be read: one line that names the file."""

import copy
import json
import os
import socket
import types

import pytest
from etils import epath
from tiny import digits, override

from gcl_jax import json_files, json_shape, logs, trained
from gcl_jax.errors import UserError, exit_on_user_error
from gcl_jax.table import seed_files
from gcl_jax.training import experiment
from gcl_jax.training.stage_run import best_epochs
from gcl_jax.workdir import ownership, results
from gcl_jax.workdir.seed_dir import StageDir

SCORES = {
    "accuracy": 81.5, "many": 90.0, "medium": None, "few": 70.0, "macro_recall": 80.0, "nll": 0.5, "ece": 0.1,
    "balanced_accuracy": 80.0, "per_class": [90.0, None], "num_examples": 500,
}  # fmt: skip
DONE = {
    "stage_key": "a", "started_from": "random", "steps": 4, "epochs": 2, "seconds": 1.5,
    "final": {"test": SCORES}, "best": {"on_test": {"epoch": 1, "test_accuracy": 82.0}},
}  # fmt: skip
RESULT = {
    "config": {"data": {"validation_fraction": 0.1}},
    "stages": {"representation": DONE},
    "final": DONE["final"],
    "data": {"class_counts": [9, 3], "num_train": 12, "num_test": 4, "fingerprint": "f"},
    "device": {"count": 1, "kind": "cpu"},
    "versions": {"gcl_jax": "0.1", "python": "3.11", "jax": "0.10"},
}
SEEDS = {
    "across_seeds": {"representation": {"accuracy": {"mean": 1.0, "std": 0.5}}},
    "seeds": {"seed_0": RESULT},
}
DATASET = types.SimpleNamespace(fingerprint="f", legacy_fingerprint="e")
OTHERS = (None, 5, -1.5, "x", [], {}, True, [None], {"x": 1}, 10**400)


def edits(value, path=()):
    """``value`` with something else in each place in turn, or nothing there; and the place."""
    for other in OTHERS:
        yield other, path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in list(inner):
        for changed, place in edits(one, (*path, key)):
            whole = copy.copy(value)
            whole[key] = changed
            yield whole, place
        if isinstance(value, dict):
            yield {k: v for k, v in value.items() if k != key}, (*path, key)


def all_seeds(found):
    """What is done with a result of several seeds, of which some were just trained."""
    results.format_seeds(found)
    results.across_seeds({**found["seeds"], "seed_9": RESULT})


READERS = {
    "result": (RESULT, results.RESULT, results.format_table),
    "seeds' result": (SEEDS, results.SEEDS, all_seeds),
    "DONE": (DONE, results.DONE, lambda x: results.format_table({**RESULT, "stages": {"a": x}})),
}


@pytest.mark.parametrize("name", READERS)
def test_what_is_read_can_be_shown(tmp_path, name):
    """Each place of the file holding each of many other things: read as it is meant, or refused by name."""
    whole, shape, show = READERS[name]
    file, told = epath.Path(tmp_path) / "result.json", []
    show(json.loads(json.dumps(whole)))
    for changed, _ in edits(whole):
        file.write_text(json.dumps(changed))
        try:
            found = json_files.read(file, shape=shape)
        except UserError as error:
            told.append(str(error))
        else:
            show(found)
    assert len(told) > 50
    assert all(str(file) in line for line in told)


def test_what_a_table_reads_of_a_seed(tmp_path):
    """The same, through what the table reads of a row."""
    file, told = tmp_path / "seed_0" / "result.json", []
    file.parent.mkdir()
    for changed, _ in edits(RESULT):
        file.write_text(json.dumps(changed))
        try:
            found = seed_files.read(file.parent, "representation")
        except UserError as error:
            told.append(str(error))
        else:
            assert json.dumps([found["metrics"], found["seconds"], found["machine"]])
    assert len(told) > 50
    assert all(str(file) in line for line in told)


RECORD = {"stage": "a", "step": 4, "epoch": 1, "kind": "test", "accuracy": 1.5}


def test_lines_of_another_shape(tmp_path):
    log, told = logs.MetricsLog(epath.Path(tmp_path) / "metrics.jsonl"), []
    for kind in ("train", "test", "validation"):
        for changed, _ in edits({**RECORD, "kind": kind}):
            lines = [json.dumps(RECORD), json.dumps(changed)]
            (tmp_path / "metrics.jsonl").write_text("".join(f"{line}\n" for line in lines))
            try:
                best_epochs(log.read("a"))
                log.cut_back("a", 3, pending_eval=True)
            except UserError as error:
                told.append(str(error))
    assert len(told) > 50
    assert all(f"line 2 of {tmp_path}/metrics.jsonl" in line for line in told)


@pytest.mark.parametrize(
    "content", ['{"steps": 5}', '{"steps": ["1"]}', '{"steps": [1], "stage_key": []}', "[3]", '"x"']
)
def test_skipped_steps_of_another_shape(tmp_path, content):
    folder = StageDir(epath.Path(tmp_path), "stage")
    folder.path.mkdir()
    (folder.path / "skipped.json").write_text(content)
    with pytest.raises(UserError, match=r"skipped\.json is damaged"):
        folder.older_skips(["a"])


def finished(folder, per_seed=False):
    """A finished run of the tiny config in ``folder``, written by hand; and its config."""
    config = override(digits(), {"stages": ("representation",)})
    keys = ownership.keys_of(config, ["representation"], per_seed)
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"training": keys, "config": config.to_dict()}))
    (folder / "result.json").write_text(json.dumps(RESULT))
    return config


def test_a_config_of_another_shape(tmp_path, monkeypatch):
    """What evaluates, predicts and goes on reads it; each answers every edit with a line or as if all were well."""
    config = override(finished(tmp_path / "run"), {"tuning.key": "representation.method.noise_multiplier"})
    file = tmp_path / "run" / "config.json"
    whole = json.loads(file.read_text())
    root, told = epath.Path(tmp_path / "run"), []
    for i, (changed, place) in enumerate(edits(whole)):
        if i % (23 if len(place) > 2 else 3):  # within blocks `check_block` sees to all alike
            continue
        file.write_text(json.dumps(changed))
        for read in (
            lambda: trained._config_in(epath.Path(file)),
            lambda: ownership.compare_rules(root, config),
            lambda: ownership.compare(root, whole["training"]),
            lambda: ownership.places_in(root),
            lambda: ownership.starts_in(root, ["representation"]),
            lambda: ownership.tuned_value(root, config),
            lambda: ownership.require_own_data(root, DATASET),
        ):
            try:
                read()
            except UserError as error:
                told.append(str(error))
    assert len(told) > 50
    assert all(str(tmp_path / "run") in line for line in told)


PLACES = ("config.json", "result.json")


@pytest.mark.parametrize("name", PLACES)
@pytest.mark.parametrize("kind", ["folder", "pipe", "socket", "device"])
def test_something_else_in_the_place_of_a_file(tmp_path, monkeypatch, name, kind):
    config = finished(tmp_path / "run")
    file = tmp_path / "run" / name
    file.unlink()
    if kind == "folder":
        file.mkdir()
    elif kind == "pipe":
        os.mkfifo(file)
    elif kind == "socket":
        monkeypatch.chdir(tmp_path / "run")  # a socket's path has an end at 108 bytes
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(name)
    else:
        file.symlink_to("/dev/zero")
    with pytest.raises(UserError, match=name):
        experiment.run(config, tmp_path / "run")


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), OSError(5, "Input/output error")])
@pytest.mark.parametrize("name", [*PLACES, "metrics.jsonl", "DONE.json", "skipped.json"])
def test_files_that_cannot_be_read(tmp_path, monkeypatch, error, name):
    file = epath.Path(tmp_path) / name
    file.write_text("{}\n")

    def fails(self):
        raise type(error)(error.errno, error.strerror, str(self))

    monkeypatch.setattr(type(file), "read_bytes", fails)
    read = logs.MetricsLog(file)._records if name == "metrics.jsonl" else lambda: json_files.read(file)
    with pytest.raises(UserError, match=rf"{name} could not be read \({error.strerror}\); nothing was changed"):
        read()


@pytest.mark.parametrize("number", [13, 1, 5, 21, 24, 30, 116])
def test_an_error_of_a_file_is_a_line_wherever_it_is_opened(number):
    with pytest.raises(SystemExit) as ended, exit_on_user_error():
        raise OSError(number, os.strerror(number), "some/file")
    assert str(ended.value.code).startswith(f"error: some/file cannot be read or written ({os.strerror(number)})")
    with pytest.raises(FileNotFoundError), exit_on_user_error():  # a defect of ours keeps its traceback
        raise FileNotFoundError(2, os.strerror(2), "some/file")


def test_shapes():
    assert json_shape.mismatch({"a": {"b": [1, True]}}, {"a": {"b": [int]}}) == "a.b[1] is true or false"
    assert json_shape.mismatch({"x": 1, "y": None}, {str: int}) == "y is null"
    assert json_shape.mismatch({"a": []}, {"a": [int]}) == "a is empty"
    assert json_shape.mismatch({"a": 2**63}, {"a": int}) == "a is a number of 19 digits"
    assert json_shape.mismatch({}, {"a?": int}) == ""


@pytest.mark.parametrize("name", ["", "representation", "representation/checkpoints"])
def test_a_folder_that_cannot_be_listed_is_not_taken_for_an_empty_one(tmp_path, monkeypatch, name):
    config = finished(tmp_path / "run")
    closed = tmp_path / "run" / name
    (tmp_path / "run" / "representation" / "checkpoints" / "5").mkdir(parents=True)
    kind, listed = type(epath.Path(tmp_path)), type(epath.Path(tmp_path)).iterdir

    def iterdir(self):
        if os.fspath(self) == os.fspath(closed):
            raise PermissionError(13, "Permission denied", os.fspath(self))
        return listed(self)

    monkeypatch.setattr(kind, "iterdir", iterdir)
    for look in (lambda: experiment.run(config, tmp_path / "run"), lambda: trained.locate(str(tmp_path / "run"))):
        with pytest.raises(UserError, match=rf"^{closed} could not be read \(Permission denied\); nothing was changed"):
            look()
