"""Pipes, sockets, devices and folders where a file is expected: each is named at once, and nothing waits."""

import os
import pathlib
import socket

import pytest

from gcl_jax import command_line, regular_files
from gcl_jax.checkpoints import pretrained
from gcl_jax.data import arrays, class_counts, lists, packed
from gcl_jax.errors import UserError


def pipe(path):
    os.mkfifo(path)
    return "a pipe"


def listening(path):
    one = socket.socket(socket.AF_UNIX)
    where = os.getcwd()
    os.chdir(path.parent)  # the paths of sockets are short
    try:
        one.bind(path.name)
    finally:
        os.chdir(where)
    return "a socket"


def device(path):
    path.symlink_to("/dev/zero")
    return "a device"


def folder(path):
    path.mkdir()
    return "a folder"


READERS = {
    "arrays": ("mine.npz", lambda path: arrays.read("mine", path), "config.data.path"),
    "weights.npz": ("w.npz", pretrained.read, "init_from"),
    "safetensors": ("w.safetensors", pretrained._read_safetensors, "init_from"),
    "counts": ("counts.json", class_counts.read, "config.data.photos.counts"),
    "list": ("train.txt", lambda path: lists.read_list(path, "train_list"), "config.data.photos.train_list"),
    "annotations": ("train.json", lambda path: lists.read_list(path, "train_list"), "config.data.photos.train_list"),
    "index of a pack": (packed.INDEX, lambda path: packed.read_index(pathlib.Path(path).parent), "config.data.path"),
    "config": ("own.py", lambda path: command_line.config_of(["", f"--config={path}"]), r"--config=.*own\.py"),
}


@pytest.mark.parametrize("make", [pipe, listening, device, folder])
@pytest.mark.parametrize("reader", READERS)
def test_only_regular_files_are_read(tmp_path, reader, make):
    name, read, key = READERS[reader]
    kind = make(tmp_path / name)
    with pytest.raises(UserError, match=rf"^{key}: .*{name} is {kind}: name a regular file") as error:
        read(str(tmp_path / name))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("path", ["nowhere/{}", "n" * 300 + "/{}", "file/{}", "link/{}"])
def test_a_path_that_leads_nowhere_is_one_line(tmp_path, reader, path):
    name, read, key = READERS[reader]
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to("link")
    with pytest.raises(
        UserError, match=rf"^({key}: .*(there is no file|cannot be read)|config\.data\.path: .* no pack)"
    ):
        read(str(tmp_path / path.format(name)))


def test_a_null_byte_in_a_path_is_one_line():
    with pytest.raises(UserError, match=r"^key: 'a\\x00b' cannot be read \(embedded null byte\)"):
        regular_files.find("a\0b", "key")


def test_a_message_stays_one_line_whatever_the_path():
    assert regular_files.shown("a\nb") == r"'a\nb'"
    assert len(regular_files.shown("x" * 10_000)) < 300
    assert regular_files.shown("l\u00fccke/\u5b57.txt") == "l\u00fccke/\u5b57.txt"


def test_what_goes_wrong_while_a_file_is_read_names_it(tmp_path):
    (tmp_path / "a.npz").write_bytes(b"PK")
    for error, told in (
        (OSError(5, "Input/output error"), "cannot be read .Input/output error"),
        (MemoryError(), "too large"),
    ):
        with (
            pytest.raises(UserError, match=rf"^key: .*a\.npz .*{told}"),
            regular_files.opened(tmp_path / "a.npz", "key"),
        ):
            raise error
