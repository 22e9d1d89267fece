"""Bad disks: damaged checkpoints are noticed and gone round, failed writes lose nothing, one run has a folder."""

import contextlib
import errno
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import ROOT
from etils import epath
from same_run import assert_same_run
from tiny import digits, override

from gcl_jax.checkpoints import checkpoint, integrity
from gcl_jax.checkpoints.integrity import BEST, Damaged
from gcl_jax.errors import UserError
from gcl_jax.training import experiment
from gcl_jax.workdir import lock

pytestmark = pytest.mark.usefixtures("quick_compilation")
TREE = {
    "params": {"a": {"kernel": np.random.default_rng(0).normal(size=(3, 3, 16, 16)).astype(np.float32)}},
    "step": np.int32(7),
    "opt": ({"m": np.zeros((64, 64), np.float32)},),
}


def tree():
    return jax.tree.map(jnp.asarray, TREE)


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    folder = tmp_path_factory.mktemp("one") / "stage" / "checkpoints"
    with checkpoint.Checkpoints(folder, 3) as checkpoints:
        checkpoints.save(5, tree(), {"stage_key": "abc", "seconds": 1.5})
    return folder


def cut(content):
    return content[: len(content) // 2]


def flip(place):
    def change(content):
        content = bytearray(content)
        content[int(place * (len(content) - 1))] ^= 4
        return bytes(content)

    return change


@pytest.mark.parametrize(
    "error",
    [
        PermissionError(errno.EACCES, os.strerror(errno.EACCES), "x"),
        ValueError("NOT_FOUND: Error opening x: [OS error: Too many open files]"),
        RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 99 bytes"),
        MemoryError(),
    ],
    ids=["rights", "open files", "device memory", "memory"],
)
def test_what_may_be_read_later_is_not_taken_for_damage(one, tmp_path, monkeypatch, error):
    shutil.copytree(one, tmp_path / "stage" / "checkpoints")
    with checkpoint.Checkpoints(tmp_path / "stage" / "checkpoints", 3) as checkpoints:
        with monkeypatch.context() as patch:
            patch.setattr(checkpoints._manager, "restore", lambda *args, **kwargs: (_ for _ in ()).throw(error))
            with pytest.raises(UserError, match=r"could not be read .*; nothing was changed") as told:
                checkpoints.restore(5, tree())
        assert not isinstance(told.value, Damaged)
        assert checkpoints.note(5)["stage_key"] == "abc"


@pytest.mark.parametrize("change", [cut, flip(0.3), flip(0.99)], ids=["cut", "flipped", "flipped at the end"])
def test_each_file_in_turn(one, tmp_path, change):
    """What is read is what was saved, or `Damaged`: nothing in between, whichever file it is."""
    refused = set()
    for file in sorted(path for path in (one / "5").rglob("*") if path.is_file()):
        folder = tmp_path / "stage" / "checkpoints"
        shutil.rmtree(tmp_path / "stage", ignore_errors=True)
        shutil.copytree(one, folder)
        changed = folder / file.relative_to(one)
        changed.write_bytes(change(file.read_bytes()))
        with checkpoint.Checkpoints(folder, 3) as checkpoints:
            for read in (lambda c=checkpoints: c.restore(5, tree()), lambda f=folder: checkpoint.read(f)[:2]):
                try:
                    found, note = read()
                except Damaged:
                    refused.add(str(file.relative_to(one)))
                else:
                    assert note["stage_key"] == "abc"
                    assert note["seconds"] == 1.5
                    found = checkpoint.flatten(found)
                    for name, array in checkpoint.flatten(TREE).items():
                        np.testing.assert_array_equal(found[name], array)
    assert "5/note/metadata" in refused
    assert any("/d/" in name for name in refused)  # the arrays themselves


def test_another_model_is_not_taken_for_damage(one):
    with checkpoint.Checkpoints(one, 3) as checkpoints:
        with pytest.raises(UserError, match=r"has no array more: it belongs to another model") as error:
            checkpoints.restore(5, tree() | {"more": jnp.zeros(1)})
        assert not isinstance(error.value, Damaged)


def test_a_checkpoint_of_before_there_were_checksums_is_read(one, tmp_path, monkeypatch):
    monkeypatch.setattr(integrity, "with_checksums", lambda note, *_: dict(note))
    with checkpoint.Checkpoints(tmp_path / "old", 3) as checkpoints:
        checkpoints.save(2, tree(), {"stage_key": "abc"})
        checkpoints.wait()
        assert checkpoints.restore(2, tree())[1] == {"stage_key": "abc"}


def test_a_copy_under_another_number_is_not_taken(one, tmp_path):
    shutil.copytree(one, tmp_path / "stage")
    shutil.copytree(one / "5", tmp_path / "stage" / "99")
    with pytest.raises(Damaged, match="it was saved as that of step 5"):
        checkpoint.read(tmp_path / "stage")
    shutil.copytree(tmp_path / "stage", tmp_path / BEST / "checkpoints")
    with pytest.raises(UserError, match=f"only one is kept there: start from {tmp_path} instead"):
        checkpoint.read(tmp_path / BEST / "checkpoints")


CONFIG = {"stages": ("representation",), "checkpoint.keep": 3}


@pytest.fixture(scope="module")
def whole(tmp_path_factory, quick_compilation):
    workdir = tmp_path_factory.mktemp("whole") / "run"
    experiment.run(override(digits(), CONFIG), workdir)
    return workdir


@pytest.fixture(scope="module")
def all_kept(tmp_path_factory, quick_compilation):
    workdir = tmp_path_factory.mktemp("all_kept") / "run"
    experiment.run(override(digits(), CONFIG | {"checkpoint.keep": 9}), workdir)
    return workdir


def interrupted(all_kept, tmp_path):
    """The run with its last checkpoint, of step 18, still to come: 5, 10 and 15 are there."""
    workdir = tmp_path / "run"
    shutil.copytree(all_kept, workdir)
    shutil.rmtree(workdir / "representation" / "checkpoints" / "18")
    for name in ("result.json", "representation/DONE.json"):
        (workdir / name).unlink()
    return workdir


def spoil(folder):
    """One bit of the largest file, which holds the arrays."""
    file = max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    file.write_bytes(flip(0.4)(file.read_bytes()))


def test_the_one_before_is_taken_with_a_warning_and_none_good_is_an_error(whole, all_kept, tmp_path, capsys):
    workdir = interrupted(all_kept, tmp_path)
    folder = workdir / "representation" / "checkpoints"
    spoil(folder / "15")
    spoil(folder / "10")
    again = override(digits(), CONFIG)
    experiment.run(again, workdir)
    told = capsys.readouterr().out
    assert f"warning: checkpoint {folder}/15 is damaged" in told
    assert f"warning: checkpoint {folder}/10 is damaged" in told
    assert "resuming after step 5" in told
    assert sorted(p.name for p in (workdir / "representation" / "damaged").iterdir()) == ["10", "15"]
    assert_same_run(workdir, whole, ("representation",))

    for name in ("result.json", "representation/DONE.json"):
        (workdir / name).unlink()
    for step in ("10", "15", "18"):
        spoil(folder / step)
    for _ in range(2):  # and it stays one
        with pytest.raises(UserError, match=r"no checkpoint of .*representation is left: all are damaged"):
            experiment.run(again, workdir)
    kept = {"10", "10.1", "15", "15.1", "18"}
    assert {p.name for p in (workdir / "representation" / "damaged").iterdir()} == kept


@pytest.mark.parametrize("which", ["a random one", pytest.param("each in turn", marks=pytest.mark.slow)])
@pytest.mark.parametrize("change", [cut, None], ids=["cut", "gone"])
def test_a_run_ends_the_same_whichever_file_of_its_newest_checkpoint_is_damaged(whole, tmp_path, which, change):
    newest = whole / "representation" / "checkpoints" / "15"  # of the runs below, which lack the last, 18
    files = sorted(p.relative_to(whole) for p in newest.rglob("*") if p.is_file())
    for name in files if which == "each in turn" else [random.SystemRandom().choice(files)]:
        print(name)
        workdir = tmp_path / name.name
        shutil.copytree(whole, workdir)
        shutil.rmtree(workdir / "representation" / "checkpoints" / "18")
        for later in ("result.json", "representation/DONE.json"):
            (workdir / later).unlink()
        if change:
            (workdir / name).write_bytes(change((workdir / name).read_bytes()))
        else:
            (workdir / name).unlink()
        experiment.run(override(digits(), CONFIG), workdir)
        assert_same_run(workdir, whole, ("representation",))
        shutil.rmtree(workdir)


def test_a_full_disk_is_one_error_and_loses_nothing(whole, all_kept, tmp_path):
    """No file may grow beyond a few kilobytes: Linux then says "File too large", as it says "No space left"."""
    workdir = interrupted(all_kept, tmp_path)
    before, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20000, hard))
    try:
        with pytest.raises(UserError, match=r"could not be written to .*checkpoints \(File too large\)") as error:
            experiment.run(override(digits(), CONFIG), workdir)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, hard))
    assert "the checkpoint of step 15 is safe there" in str(error.value)
    experiment.run(override(digits(), CONFIG), workdir)
    assert_same_run(workdir, whole, ("representation",))


@pytest.fixture
def small_disk(tmp_path):
    """A disk of its own of 8 MiB; only root may have one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "none", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("no file system can be mounted here; a limit on the size of files stands in, in the test above")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_disk_that_is_full_is_one_error_and_loses_nothing(whole, all_kept, small_disk):
    workdir = interrupted(all_kept, small_disk)
    room = shutil.disk_usage(small_disk).free
    (small_disk / "others").write_bytes(bytes(room - 40_000))  # a checkpoint has some 500 kB
    with pytest.raises(UserError, match=r"could not be written to .*checkpoints \(No space left on device\)") as error:
        experiment.run(override(digits(), CONFIG), workdir)
    assert "the checkpoint of step 15 is safe there" in str(error.value)
    (small_disk / "others").unlink()
    experiment.run(override(digits(), CONFIG), workdir)
    assert_same_run(workdir, whole, ("representation",))


def test_a_new_run_on_a_full_disk_is_one_error(small_disk):
    with contextlib.suppress(OSError), (small_disk / "others").open("wb", buffering=0) as others:
        while True:
            others.write(bytes(4096))
    with pytest.raises(UserError, match=r"could not be written|cannot be written \(No space left on device\)"):
        experiment.run(override(digits(), CONFIG), small_disk / "run")


@pytest.fixture
def read_only():
    """A function that makes a folder read-only, for root, too."""
    mounted = []

    def make(folder):
        for options in ("bind", "remount,bind,ro"):
            found = subprocess.run(["mount", "-o", options, folder, folder], capture_output=True)
            if found.returncode:
                pytest.skip("no file system can be mounted here")
            mounted.append(folder)

    yield make
    for folder in set(mounted):
        subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_folder_that_cannot_be_written(whole, all_kept, tmp_path, read_only):
    """A finished run there is looked at as ever; one that would train is refused before it does."""
    finished = tmp_path / "finished"
    shutil.copytree(whole, finished)
    started = interrupted(all_kept, tmp_path)
    read_only(tmp_path)
    expected = json.loads((whole / "result.json").read_text())
    assert json.loads(json.dumps(experiment.run(override(digits(), CONFIG), finished), default=list)) == expected
    for workdir in (started, tmp_path / "new"):
        with pytest.raises(UserError, match=r"cannot be written \(Read-only file system\): name another folder"):
            experiment.run(override(digits(), CONFIG), workdir)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("metrics.jsonl", b"{}\n", "line 1 of .*metrics.jsonl is not one of ours"),
        ("metrics.jsonl", b"5\n", "line 1 of .*metrics.jsonl is not one of ours"),
        ("metrics.jsonl", b"\xff\xfe\n", "line 1 of .*metrics.jsonl is not one of ours"),
        ("representation/DONE.json", b'{"a": 1}', "DONE.json is damaged .it has no final"),
        ("result.json", b'{"a": 1}', "result.json is damaged .it has no stages"),
        ("result.json", b"[" * 100_000, "result.json is damaged"),
        ("config.json", b'{"training": null}', "config.json is damaged"),
    ],
)
def test_files_of_ours_that_hold_something_else(whole, tmp_path, name, content, told):
    workdir = tmp_path / "run"
    shutil.copytree(whole, workdir)
    remove = {"result.json": [], "representation/DONE.json": ["result.json"]}
    for other in remove.get(name, ["result.json", "representation/DONE.json"]):
        (workdir / other).unlink()
    (workdir / name).write_bytes(content)
    with pytest.raises(UserError, match=told):
        experiment.run(override(digits(), CONFIG), workdir)
    assert (workdir / name).read_bytes() == content


def test_no_room_for_a_line_is_one_error(tmp_path, monkeypatch):
    kind = type(epath.Path(tmp_path))
    opened = kind.open

    def full(self, mode="r", *args, **kwargs):
        if mode == "a":
            raise OSError(28, "No space left on device")
        return opened(self, mode, *args, **kwargs)

    monkeypatch.setattr(kind, "open", full)
    with pytest.raises(UserError, match=r"metrics\.jsonl could not be written \(No space left on device\)"):
        experiment.run(override(digits(), CONFIG), tmp_path / "run")


HOLD = """
import sys, time
from etils import epath
from gcl_jax.workdir import lock
with lock.held(epath.Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_process_is_refused_until_the_first_is_gone(tmp_path):
    workdir = epath.Path(tmp_path / "run")
    holder = subprocess.Popen([sys.executable, "-c", HOLD, workdir], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UserError, match=rf"run is in use by process {holder.pid} on \S+ since 20.*name another"):
            experiment.run(digits(), workdir)
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    with lock.held(workdir):
        assert json.loads((workdir / lock.NAME).read_text())["pid"] == os.getpid()
    assert workdir.exists()  # it was not made here


def test_a_folder_in_which_nothing_was_done_is_not_left_behind(tmp_path):
    with lock.held(epath.Path(tmp_path / "a" / "run")):
        pass
    assert not (tmp_path / "a" / "run").exists()


def test_file_systems_without_locks_are_told_of(tmp_path, monkeypatch, capsys):
    def none(*args):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(lock.fcntl, "flock", none)
    with lock.held(epath.Path(tmp_path)):
        assert "has no locks; see to it that no second run writes there" in capsys.readouterr().out
