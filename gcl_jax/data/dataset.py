"""The data set that training sees: its splits, its class counts and the long-tailed cut."""

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Mapping

import numpy as np

from gcl_jax import longtail
from gcl_jax.data.encoded_images import EncodedImages
from gcl_jax.errors import UserError, require_one_of

PROFILES = (*longtail.PROFILES, "counts", "none")


@dataclasses.dataclass(frozen=True)
class Split:
    """Images uint8[N, H, W, c], or photographs that are decoded into such, and labels int32[N]."""

    images: np.ndarray | EncodedImages
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, positions: np.ndarray) -> "Split":
        """The images at ``positions``, in that order."""
        return Split(self.images[positions], self.labels[positions])


@dataclasses.dataclass(frozen=True)
class Source:
    """The data as a reader returns them, before any subset is cut.

    ``positions`` are places in the published training set when the training split is already a
    long-tailed pack in the order drawn; None when it is the whole set in its published order. ``validation``
    is a split of its own that was published with it; ``skipped`` are the images of each split that were left out.
    """

    name: str
    train: Split
    test: Split
    class_names: tuple[str, ...]
    positions: np.ndarray | None = None
    validation: Split | None = None
    skipped: Mapping[str, int] = dataclasses.field(default_factory=dict)

    @property
    def splits(self) -> dict[str, Split]:
        """{name: split} of those that are not None."""
        parts = {"train": self.train, "test": self.test, "validation": self.validation}
        return {name: split for name, split in parts.items() if split is not None}


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Splits {"train", "test"[, "validation"]} with the class counts of training.

    ``positions`` int64: where the training subset stood in the published training set (before a
    validation part was taken from it).
    """

    name: str
    splits: dict[str, Split]
    class_names: tuple[str, ...]
    positions: np.ndarray
    skipped: Mapping[str, int] = dataclasses.field(default_factory=dict)

    @property
    def num_classes(self) -> int:
        """How many classes there are."""
        return len(self.class_names)

    @functools.cached_property
    def counts(self) -> np.ndarray:
        """Training images per class, int64[C]."""
        return longtail.class_counts(self.splits["train"].labels, self.num_classes)

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 over every split's pixels and labels: equal fingerprints mean the same data.

        For photographs it is over names, bytes and the way of decoding them; what has not been read yet is read for it.
        Raises UserError where photographs cannot be read.
        """
        return self._digest(lambda photographs: photographs.content_digest())

    @functools.cached_property
    def legacy_fingerprint(self) -> str:
        """What `fingerprint` was up to commit 8f92ab7: for photographs over their names, not their bytes."""
        return self._digest(lambda photographs: photographs.legacy_digest())

    def _digest(self, of_photographs: Callable[[EncodedImages], bytes]) -> str:
        digest = hashlib.sha256()
        for name, split in sorted(self.splits.items()):
            digest.update(name.encode())
            digest.update(str(split.images.shape).encode())
            if isinstance(split.images, EncodedImages):
                digest.update(of_photographs(split.images))
            else:
                digest.update(np.ascontiguousarray(split.images))
            digest.update(np.ascontiguousarray(split.labels, "<i4"))
        return digest.hexdigest()

    def describe(self) -> dict:
        """Sizes, counts and hashes for result.json."""
        counts = self.counts
        return {
            "name": self.name,
            **{f"num_{name}": len(split) for name, split in self.splits.items()},
            **({"skipped": dict(self.skipped)} if self.skipped else {}),
            "num_classes": self.num_classes,
            "class_names": list(self.class_names),  # in the order of class_counts, and of a result's per_class
            "class_counts": counts.tolist(),
            "imbalance_ratio": float(counts.max() / counts.min()),
            "subset_sha256": longtail.subset_sha256(self.positions),
            "fingerprint": self.fingerprint,
        }


def cut(
    source: Source,
    *,
    profile: str,
    imbalance_ratio: float,
    subset_seed: int = 0,
    validation_fraction: float = 0.0,
    counts: np.ndarray | None = None,
) -> Dataset:
    """Cut the long-tailed training subset, then take the validation part from it by class.

    ``profile`` is one of `longtail.PROFILES`, "counts" for the images a class in ``counts`` int[C], or "none" for all
    training images. The largest class of a profile has N / C images (LDAM); that of a source that is a long-tailed
    subset already (see `Source.positions`) keeps its size.

    Raises UserError for arrays that do not fit together, an empty class, or too few images.
    """
    check(source)
    require_one_of("config.data.profile", profile, PROFILES)
    num_classes = len(source.class_names)
    train = source.train
    pack = source.positions is not None
    if profile == "none":
        chosen = np.arange(len(train))
    else:
        if profile == "counts":
            if counts is None:
                raise UserError("data.profile is 'counts', but there are no counts: name a file in data.photos.counts")
            if len(counts) != num_classes:
                raise UserError(
                    f"data.photos.counts holds {len(counts)} numbers for the {num_classes} classes of {source.name}"
                )
        else:
            class_counts = longtail.class_counts(train.labels, num_classes)
            num_max = float(class_counts.max()) if pack else len(train) / num_classes
            counts = longtail.PROFILES[profile](num_max, num_classes, imbalance_ratio)
        if pack:
            chosen = longtail.take_first(train.labels, counts)
        else:
            chosen = longtail.select_long_tail(train.labels, counts, subset_seed)
    positions = chosen if source.positions is None else source.positions[chosen]
    splits = {"train": train.take(chosen), "test": source.test}
    if source.validation is not None and not validation_fraction:
        splits["validation"] = source.validation
    if validation_fraction:
        rest, held_out = longtail.hold_out(splits["train"].labels, validation_fraction, subset_seed)
        if not len(held_out):
            raise UserError(f"data.validation_fraction {validation_fraction:g} holds out no image: raise it, or use 0")
        splits |= {"train": splits["train"].take(rest), "validation": splits["train"].take(held_out)}
    return Dataset(source.name, splits, source.class_names, np.asarray(positions, np.int64), source.skipped)


def left_out(source: Source, dataset: Dataset, profile: str) -> str:
    """A message: how many training images the cut took, and how to use all; "" where it took all."""
    used, total = len(dataset.positions), len(source.train)
    if used == total:
        return ""
    return f"{used:,} of {total:,} training images (data.profile is {profile!r}; --config.data.profile=none uses all)"


def check(source: Source, title: str = "") -> None:
    """Raise UserError, naming the array, unless images, labels and classes fit together.

    ``title`` is what the message calls the data; "" for the source's name.
    """
    title = title or source.name
    num_classes = len(source.class_names)
    for part, split in source.splits.items():
        x, y = f"{title}: x_{part}", f"{title}: y_{part}"
        if split.images.dtype != np.uint8:
            raise UserError(
                f"{x} has dtype {split.images.dtype}; images must be uint8, 0..255 (convert them: NaN and scale "
                "cannot be guessed)"
            )
        if split.images.ndim != 4 or split.images.shape[-1] not in (1, 3):
            raise UserError(f"{x} has shape {split.images.shape}; it must be [N, height, width, 1 or 3]")
        if not all(split.images.shape[1:]):
            raise UserError(f"{x} has shape {split.images.shape}: its images have no pixels")
        if split.labels.shape != (len(split.images),):
            raise UserError(f"{y} has shape {split.labels.shape} but {x} holds {len(split.images)} images")
        if split.labels.dtype.kind not in "iu":
            hint = ", and class_names the texts in that order" if split.labels.dtype.kind in "SU" else ""
            raise UserError(f"{y} has dtype {split.labels.dtype}; labels must be integers 0..C-1{hint}")
        if len(split) == 0:
            raise UserError(f"{x} is empty: there is no {part} image")
        bad = np.flatnonzero((split.labels < 0) | (split.labels >= num_classes))
        if len(bad):
            raise UserError(
                f"{y}[{bad[0]}] is {split.labels[bad[0]]}, outside 0..{num_classes - 1} "
                f"({len(bad)} labels are; there are {num_classes} classes)"
            )
    if source.train.images.shape[1:] != source.test.images.shape[1:]:
        raise UserError(
            f"{title}: training images are {source.train.images.shape[1:]} but test images "
            f"{source.test.images.shape[1:]}: bring them to one size"
        )
    empty = np.flatnonzero(longtail.class_counts(source.train.labels, num_classes) == 0)
    if len(empty):
        raise UserError(
            f"{title}: class {empty[0]} ({source.class_names[empty[0]]}) has no training image: "
            "number the classes 0..C-1 without gaps, each with at least one image"
        )
    if source.positions is not None and len(source.positions) != len(source.train):
        raise UserError(
            f"{title}: index_train has {len(source.positions)} entries for {len(source.train)} training images"
        )
