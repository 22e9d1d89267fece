"""Prepared TensorFlow Datasets of small images (cifar10, cifar100), in their published order."""

import os
import socket
from collections.abc import Mapping
from urllib.parse import urlsplit

import numpy as np

from gcl_jax.data import tfds_folder
from gcl_jax.data.dataset import Source, Split
from gcl_jax.errors import UserError
from gcl_jax.runtime import quiet_tensorflow

URLS = {
    "cifar10": "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    "cifar100": "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
}


def read(name: str, path: str, photos: Mapping | None = None) -> Source:
    """Read ``name`` from the TFDS folder ``path`` ("" = TFDS's default); downloads it once where that is possible.

    TFDS shuffles when it prepares; the ``id`` feature ("train_16399") gives the published order
    back, without which the long-tailed subset would not be the field's. ``photos`` is not used.

    Raises UserError at once when the data are missing and cannot be downloaded.
    """
    del photos
    if name not in URLS:
        raise UserError(
            f"data.name is {name!r}; data.source='tfds' reads one of {', '.join(URLS)} (photographs: "
            "data.source='tfds_list')"
        )
    try:
        quiet_tensorflow.load()
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise UserError(
            f"data.source='tfds' needs TensorFlow Datasets ({error.name} is missing): pip install 'gcl_jax[tf]', or "
            "use --config.data.source=arrays --config.data.path=FILE.npz"
        ) from error
    builder = tfds_folder.builder(name, path)
    if not builder.is_prepared():
        _require_reachable(name, path or builder.data_dir)
        with tfds_folder.explain_errors(name, path, "prepared"):
            if path:
                os.makedirs(os.path.expanduser(path), exist_ok=True)  # which `builder` may reach by a link
            builder.download_and_prepare()
    with tfds_folder.explain_errors(name, path, "read"):
        label = builder.info.features["label"]
        splits = {
            part: _in_order(tfds.as_numpy(builder.as_dataset(split=part, batch_size=-1))) for part in ("train", "test")
        }
        return Source(name, splits["train"], splits["test"], tuple(label.names))


def _in_order(batch: dict) -> Split:
    order = np.argsort([int(i.rsplit(b"_", 1)[1]) for i in batch["id"]])
    return Split(batch["image"][order], batch["label"][order].astype(np.int32))


def _require_reachable(name: str, folder: str) -> None:
    # TFDS itself retries for minutes without a word.
    host = urlsplit(URLS[name]).hostname
    try:
        socket.create_connection((host, 443), timeout=5).close()
    except OSError as error:
        raise UserError(
            f"{name} is not prepared in {folder} and {host} cannot be reached to download it ({error}). "
            f"Put a prepared copy there (run tfds.builder('{name}').download_and_prepare() on a connected machine and "
            f"copy its folder), name another folder with --config.data.path=DIR, or use --config.data.source=arrays "
            f"--config.data.path=FILE.npz"
        ) from error
