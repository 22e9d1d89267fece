"""Leaving out the photographs that cannot be decoded, before anything is counted or drawn."""

import dataclasses

import numpy as np

from gcl_jax import logs
from gcl_jax.data import image_kind
from gcl_jax.data.dataset import Source, Split
from gcl_jax.data.photographs import Photographs
from gcl_jax.data.problems import first


def without_undecodable(source: Source) -> Source:
    """``source`` without the photographs of any split that cannot be decoded; says how many and which.

    Every image is decoded once, at the start of every run: class counts, and with them losses and sampling, are those
    of the images that are there, and a run that goes on sees the same.
    """
    splits, skipped = {}, {}
    for part in ("train", "test", "validation"):
        split = getattr(source, part)
        if split is None or not isinstance(split.images, Photographs):
            continue
        images = [(split.images, i) for i in range(len(split))]
        reasons = np.array([kind.reason for kind in image_kind.look_at_all(images, decode=True)], object)
        bad = np.flatnonzero(reasons)
        if len(bad):
            skipped[part] = len(bad)
            named = first([f"{split.images.where(i)}: {reasons[i]}" for i in bad])
            lines = "".join(f"\n  {line}" for line in named)
            logs.say(f"{source.name}: {len(bad)} {part} images cannot be decoded and are skipped:{lines}")
            good = np.setdiff1d(np.arange(len(split)), bad)
            splits[part] = Split(split.images[good], split.labels[good])
    return dataclasses.replace(source, **splits, skipped=skipped)
