"""Files that would run something if they were unpickled: each is refused in one line, and nothing runs.

PyTorch's files are in with_torch_resnet.py, paths that lead out of the image root in test_lists.py, test_folder.py and
test_pack.py.
"""

import io
import os
import pickle
import zipfile

import numpy as np
import pytest

from gcl_jax.checkpoints import pretrained, warm_start
from gcl_jax.data import arrays
from gcl_jax.errors import UserError


class Runs:
    """What unpickling it would run."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def object_array(evil) -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.array([evil], object), allow_pickle=True)
    return stream.getvalue()


def npz(**members: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        for name, content in members.items():
            file.writestr(f"{name}.npy", content)
    return stream.getvalue()


EVIL = {
    "an object array in an npz": lambda evil: npz(x_train=object_array(evil)),
    "a pickle in an npz": lambda evil: npz(x_train=pickle.dumps(evil)),
    "an object array alone": object_array,
    "a pickle alone": pickle.dumps,
    "an old pickle alone": lambda evil: pickle.dumps(evil, protocol=0),
}
READERS = {
    "data": lambda path: arrays.read("mine", path),
    "weights": pretrained.read,
    "hand-over": lambda path: warm_start.load(path, None),
}


def test_the_files_of_this_test_would_run_something(tmp_path):
    for i, make in enumerate((EVIL["an object array alone"], EVIL["a pickle alone"])):
        np.load(io.BytesIO(make(Runs(tmp_path / str(i)))), allow_pickle=True)
        assert (tmp_path / str(i)).is_dir()


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("evil", EVIL)
def test_an_npz_runs_nothing(tmp_path, evil, reader):
    file = tmp_path / "evil.npz"
    file.write_bytes(EVIL[evil](Runs(tmp_path / "ran")))
    with pytest.raises(UserError, match=r"evil\.npz is not a readable \.npz of plain arrays") as error:
        READERS[reader](str(file))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "ran").exists()


def test_safetensors_run_nothing(tmp_path):
    pytest.importorskip("safetensors", reason="pip install 'gcl_jax[pretrained]'")
    content = pickle.dumps(Runs(tmp_path / "ran"))
    for whole in (content, len(content).to_bytes(8, "little") + content):
        (tmp_path / "evil.safetensors").write_bytes(whole)
        with pytest.raises(UserError, match=r"evil\.safetensors is damaged") as error:
            pretrained.read(str(tmp_path / "evil.safetensors"))
        assert "\n" not in str(error.value)
    assert not (tmp_path / "ran").exists()
