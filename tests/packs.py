"""Packs of `photographs.four_classes`: the command that makes one, and what is read of it."""

import photographs
from conftest import ROOT

from gcl_jax import data


def arguments(root, out, *more, command="pack", **keys):
    """The command on `four_classes`, at 32 pixels."""
    lists = {f"photos.{part}_list": f"{root}/{part}.txt" for part in ("train", "test")}
    given = {"photos.size": 32, "photos.resize": 36} | lists | {k.replace("__", "."): v for k, v in keys.items()}
    flags = [f"--config.data.{key}={value}" for key, value in given.items()]
    return [command, f"--config={ROOT}/configs/photos_lt.py:gcl,{root}", f"--out={out}", *flags, *more]


def load(root, source, **photos):
    lists = {f"{part}_list": root / f"{part}.txt" for part in ("train", "test")} if source == "list" else {}
    keys = photographs.keys(size=32, resize=36, **lists, **photos)
    return data.load(
        source=source, name="photos_lt", path=str(root), profile="none", imbalance_ratio=1.0, subset_seed=0,
        validation_fraction=0.0, photos=keys,
    )  # fmt: skip
