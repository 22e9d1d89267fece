"""Photographs that cannot be decoded: refused or left out, before classes are counted and subsets drawn."""

import dataclasses

import numpy as np

from gcl_jax import logs
from gcl_jax.data import image_kind
from gcl_jax.data.dataset import Source, Split
from gcl_jax.data.encoded_images import EncodedImages
from gcl_jax.data.problems import first_lines
from gcl_jax.errors import UserError


def drop_corrupt(source: Source, on_bad_image: str) -> Source:
    """``source`` with the photographs that can be decoded, and the digests of their bytes.

    Each is read and decoded once, at the start of every run. With ``on_bad_image`` = "skip" the bad ones are left out
    and logged: class counts, and with them losses and sampling, are those of the remaining images. With "error" one
    UserError names them.
    """
    splits, skipped, refused = dict(source.splits), {}, []
    for part, split in source.splits.items():
        photographs = split.images
        if not isinstance(photographs, EncodedImages):
            continue
        kinds = list(image_kind.identify_all([(photographs, i) for i in range(len(split))], decode=True))
        reasons = np.array([kind.reason for kind in kinds], object)
        digests = np.frombuffer(b"".join(kind.sha256.ljust(32, b"\0") for kind in kinds), np.uint8).reshape(-1, 32)
        read = photographs.with_digests(digests)
        splits[part] = Split(read, split.labels)
        bad = np.flatnonzero(reasons).tolist()
        messages = [f"{photographs.where(i)}: {reasons[i]}" for i in bad]
        if on_bad_image == "error":
            refused += messages
        elif len(bad):
            skipped[part] = len(bad)
            lines = "".join(f"\n  {line}" for line in first_lines(messages))
            logs.log_info(f"{source.name}: {len(bad)} {part} images cannot be decoded and are skipped:{lines}")
            good = np.setdiff1d(np.arange(len(split)), bad)
            splits[part] = Split(read[good], split.labels[good])
    if refused:
        lines = "".join(f"\n  {line}" for line in first_lines(refused))
        raise UserError(
            f"{source.name}: {len(refused)} images cannot be decoded: mend or remove them, or leave them out with "
            f"--config.data.photos.on_bad_image=skip{lines}"
        )
    return dataclasses.replace(
        source,
        train=splits["train"],
        test=splits["test"],
        validation=splits.get("validation"),
        skipped={**source.skipped, **skipped},
    )
