"""An argument that is empty, as of a shell's variable that was never set, is never taken for the current folder."""

import pytest

from gcl_jax import export, predict, trained
from gcl_jax.errors import UserError


@pytest.mark.parametrize("named", [[""], ["", "a.png"], ["a.png", ""]])
def test_an_image_without_a_name(tmp_path, monkeypatch, named):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.png").write_bytes(b"x")
    with pytest.raises(UserError, match="IMAGE is ''; it must be an image file"):
        list(predict.files(named))


def test_an_export_to_nowhere():
    with pytest.raises(UserError, match="--out is ''; it must be a folder"):
        export.parse(["--workdir=run", "--out="])


def test_a_run_without_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match="--workdir is ''; it must be the folder of a run"):
        trained.read("")
