"""What goes wrong around checkpoints and is no damage: it changes nothing, is one line, and ends in time."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import ROOT
from etils import epath

from gcl_jax.checkpoints import checkpoint, file_list
from gcl_jax.checkpoints.integrity import Damaged
from gcl_jax.errors import UserError, require_utf8
from gcl_jax.workdir import lock

TREE = {"a": np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32), "step": np.int32(3)}


def tree():
    return jax.tree.map(jnp.asarray, TREE)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("one") / "stage" / "checkpoints"
    with checkpoint.Checkpoints(folder, 3) as checkpoints:
        checkpoints.save(5, tree(), {"seconds": 1.5})
    return folder


@pytest.fixture
def stage(saved, tmp_path):
    shutil.copytree(saved, tmp_path / "stage" / "checkpoints")
    return tmp_path / "stage"


def test_every_checkpoint_is_listed_as_it_lies_there(stage):
    with checkpoint.Checkpoints(stage / "checkpoints", 9) as checkpoints:
        for step in (6, 7, 8):
            checkpoints.save(step, tree(), {})
    for step in (5, 6, 7, 8):
        assert file_list.find_change(epath.Path(stage / "checkpoints" / str(step))) == ""
        listed = json.loads((stage / "checkpoints" / str(step) / file_list.NAME).read_text())["files"]
        assert {"note/metadata", "state/_METADATA"} <= listed.keys()


TROUBLE = {
    "encoding": UnicodeEncodeError("ascii", "ü", 0, 1, "ordinal not in range(128)"),
    "surrogates": UnicodeEncodeError("utf-8", "\udcc3", 0, 1, "surrogates not allowed"),
    "import": ImportError("no module named zstd"),
    "driver": ValueError('Error opening "zarr" driver: "zarr" is not a registered driver'),
    "disk": OSError(errno.EIO, os.strerror(errno.EIO), "x"),
    "open files": OSError(errno.EMFILE, os.strerror(errno.EMFILE)),
    "gone disk": ValueError("NOT_FOUND: Error opening x: [OS error: Stale file handle]"),
    "data loss that is none": ValueError("DATA_LOSS: Error reading x"),
    "text": json.JSONDecodeError("Expecting value", "", 0),
    "key": KeyError("tree_metadata"),
    "assertion": AssertionError(),
    "timeout": TimeoutError("timed out"),
    "memory": MemoryError(),
    "unknown": Exception("whatever"),
}


@pytest.mark.parametrize("listed", [True, False], ids=["listed", "of an older version"])
@pytest.mark.parametrize("name", TROUBLE)
def test_what_is_raised_is_no_damage_while_the_files_are_whole(stage, monkeypatch, name, listed):
    if not listed:
        (stage / "checkpoints" / "5" / file_list.NAME).unlink()
        if name in ("data loss that is none", "text"):
            return  # all that there is to go by

    def fails(*args, **kwargs):
        raise TROUBLE[name]

    with checkpoint.Checkpoints(stage / "checkpoints", 3) as checkpoints:
        for owner, method in ((checkpoints._manager, "restore"), (checkpoints._manager, "item_metadata")):
            with monkeypatch.context() as patch:
                patch.setattr(owner, method, fails)
                with pytest.raises(UserError, match=r"could not be read \(.+\); nothing was changed") as told:
                    checkpoints.restore(5, tree())
            assert not isinstance(told.value, Damaged)
            assert "\n" not in str(told.value)
        assert checkpoints.restore(5, tree())[1]["seconds"] == 1.5


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.EMFILE, errno.ESTALE])
def test_files_that_cannot_be_looked_at_are_no_damage(stage, monkeypatch, number):
    """Not even where what Orbax says sounds like it."""
    kind = type(epath.Path(stage))

    def fails(self, *args, **kwargs):
        raise OSError(number, os.strerror(number), str(self))

    with checkpoint.Checkpoints(stage / "checkpoints", 3) as checkpoints, monkeypatch.context() as patch:
        patch.setattr(checkpoints._manager, "restore", lambda *a, **k: (_ for _ in ()).throw(ValueError("DATA_LOSS")))
        patch.setattr(kind, "open", fails)
        patch.setattr(kind, "read_bytes", fails)
        with pytest.raises(UserError, match=rf"could not be read \({os.strerror(number)}") as told:
            checkpoints.restore(5, tree())
    assert not isinstance(told.value, Damaged)


def test_other_numbers_out_of_whole_files_are_no_damage(stage, monkeypatch):
    """As where JAX's types are others than those of the run."""
    with checkpoint.Checkpoints(stage / "checkpoints", 3) as checkpoints:
        restore = checkpoints._manager.restore

        def other(step, args):
            found = dict(restore(step, args=args).items())
            return {name: jax.tree.map(lambda x: x + 1, one) if name == "state" else one for name, one in found.items()}

        monkeypatch.setattr(checkpoints._manager, "restore", other)
        with pytest.raises(UserError, match="is not what was saved, though all its files are") as told:
            checkpoints.restore(5, tree())
    assert not isinstance(told.value, Damaged)


def test_an_interrupt_stays_one(stage, monkeypatch):
    with checkpoint.Checkpoints(stage / "checkpoints", 3) as checkpoints, monkeypatch.context() as patch:
        patch.setattr(checkpoints._manager, "restore", lambda *a, **k: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            checkpoints.restore(5, tree())


@pytest.mark.parametrize("name", ["l\udcc3\udcbccke", "\udcff", "a/\udce4/b"])
def test_a_folder_that_is_no_utf8_here_is_refused_before_any_work(tmp_path, name):
    root = epath.Path(tmp_path) / name
    with pytest.raises(UserError, match="PYTHONUTF8=1"), lock.held(root):
        pass
    with pytest.raises(UserError, match="PYTHONUTF8=1"):
        checkpoint.Checkpoints(root, 3)
    with pytest.raises(UserError, match="PYTHONUTF8=1"):
        checkpoint.read(root)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "ascii"])
def test_a_folder_that_another_locale_would_call_otherwise_is_refused(monkeypatch, encoding):
    monkeypatch.setattr(os, "fsencode", lambda text: os.fspath(text).encode(encoding))
    require_utf8("run")
    with pytest.raises(UserError, match="l\u00fccke is no UTF-8 here: set PYTHONUTF8=1"):
        require_utf8("l\u00fccke")


@pytest.mark.parametrize("seconds", [10 * 86400, -10 * 86400, 365 * 86400], ids=["ahead", "back", "a year"])
def test_the_clock_may_jump(tmp_path, monkeypatch, seconds):
    """At each look at it, by that much more."""
    real, looks = time.time, iter(range(10**6))
    monkeypatch.setattr(time, "time", lambda: real() + seconds * (next(looks) % 50))
    with checkpoint.Checkpoints(tmp_path / "checkpoints", 2) as checkpoints:
        for step in (1, 2, 3):
            checkpoints.save(step, tree(), {})
        checkpoints.wait()
        assert checkpoints.steps() == [2, 3]
    monkeypatch.undo()
    np.testing.assert_array_equal(checkpoint.read(tmp_path / "checkpoints")[0]["a"], TREE["a"])


def blocked(folder, how):
    """Make ``folder``, in which a save is about to be, one that cannot be written."""
    shutil.move(folder, folder.parent / "moved")
    if how == "a file":
        folder.write_text("")
    elif how == "a link to nothing":
        folder.symlink_to("/proc/nowhere")
    else:
        folder.symlink_to(folder)


@pytest.mark.parametrize("how", ["a file", "a link to nothing", "a loop"])
def test_a_folder_that_cannot_be_written_any_more_is_one_line_and_leaves_no_thread(stage, capfd, how):
    before = set(threading.enumerate())
    checkpoints = checkpoint.Checkpoints(stage / "checkpoints", 3)
    blocked(stage / "checkpoints", how)

    def save():
        try:
            checkpoints.save(7, tree(), {})
            checkpoints.wait()
        finally:
            checkpoints.close()

    with pytest.raises(UserError, match=r"a checkpoint could not be written to \S*checkpoints \("):
        save()
    deadline = time.monotonic() + 5
    while set(threading.enumerate()) - before and time.monotonic() < deadline:
        time.sleep(0.05)
    left = [t for t in threading.enumerate() if t not in before and not t.daemon and "ThreadPool" not in t.name]
    assert not left
    assert "Traceback" not in "".join(capfd.readouterr())


STUCK = """
import sys, threading, time
from gcl_jax.errors import UserError, exit_on_user_error
from gcl_jax.runtime import leaving, preemption

@exit_on_user_error()
@preemption.signal_handlers()
def main():
    threading.Thread(target=time.sleep, args=(300,)).start()  # as one of a library, which nothing ends
    print("ready", flush=True)
    {ending}

with leaving.exit_within(patience={patience}):
    main()
"""


@pytest.mark.parametrize(
    ("ending", "patience", "number", "status", "told"),
    [
        ("raise UserError('no room')", 1, None, 1, "error: no room\n"),
        ("raise RuntimeError('a defect')", 1, None, 1, "RuntimeError: a defect\n"),
        ("sys.exit(3)", 1, None, 3, ""),
        ("raise UserError('no room')", 200, signal.SIGTERM, 1, "error: no room\n"),
        ("raise UserError('no room')", 200, signal.SIGINT, 1, "error: no room\n"),
        ("raise preemption.Stopped('all is saved')", 200, signal.SIGTERM, 0, ""),
    ],
)
def test_an_error_ends_the_process_whatever_threads_are_left(ending, patience, number, status, told):
    script = STUCK.format(ending=ending, patience=patience)
    process = subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    if number:
        if told:
            assert process.stderr.readline() == told
        else:
            assert process.stdout.readline() == "all is saved\n"
            time.sleep(1)
        process.send_signal(number)
    assert process.wait(timeout=30) == status
    assert number or process.stderr.read().endswith(told)
