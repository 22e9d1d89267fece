"""A look at a config's data before a long run: sizes, counts, kinds of images, and everything that is wrong."""

import collections
from collections.abc import Iterator

import numpy as np
from ml_collections import ConfigDict

from gcl_jax import data, longtail
from gcl_jax.data import class_counts, image_kind, problems
from gcl_jax.data.dataset import Split
from gcl_jax.data.encoded_images import EncodedImages
from gcl_jax.data.remarks import remarks

SAMPLE = 1000  # files whose headers are read without --decode


def inspect(config: ConfigDict, *, decode: bool = False) -> bool:
    """Print a description of the data of ``config``; False if a run would refuse them.

    With ``decode`` every image of every split is decoded, else the headers of at most `SAMPLE` are read.

    Raises UserError where there is nothing to describe, such as for a list that is missing.
    """
    keys, photos = config.data, config.data.photos.to_dict()
    reader, name = data.reader(keys.source), data.title(keys.source, keys.name, keys.path)
    if hasattr(reader, "find"):
        source, listing = reader.find(name, keys.path, photos)
    else:
        source, listing = reader.read(name, keys.path, photos), []
    print(f"{'source':<12}{keys.source}, {name!r}")
    if keys.path:
        print(f"{'root':<12}{keys.path}")
    if listing:
        print("without the entries that are wrong, before any long-tailed cut:")
        splits = source.splits
    else:
        dataset = data.cut(
            source,
            **{key: keys[key] for key in ("profile", "imbalance_ratio", "subset_seed", "validation_fraction")},
            counts=class_counts.read(photos["counts"]) if keys.profile == "counts" else None,
        )
        splits = dataset.splits
        if message := data.left_out(source, dataset, keys.profile):
            print(f"{'cut':<12}{message}")
    for line in describe(splits, source.class_names):
        print(line)
    on_disk = [split.images for split in splits.values() if isinstance(split.images, EncodedImages)]
    bad = _print_kinds([(images, i) for images in on_disk for i in range(len(images))], decode)
    notes = list(remarks(splits, source.class_names))
    for line in notes + ([problems.title(listing), *problems.report(listing)] if listing else []):
        print(line)
    if not listing and not bad:
        warned = any(line.startswith("warning") for line in notes)
        print("nothing found that stops a run; but see the warnings" if warned else "nothing wrong found")
    if bad and photos["on_bad_image"] == "skip":
        print("training leaves them out (data.photos.on_bad_image=skip); the counts above have them")
        bad = 0
    return not listing and not bad


def describe(splits: dict[str, Split], class_names: tuple[str, ...]) -> Iterator[str]:
    """Lines on the sizes of splits, and on the class counts of training with many / medium / few by both rules.

    >>> labels = np.repeat([0, 1, 2], [101, 20, 2])
    >>> split = Split(np.zeros((123, 1, 1, 1), np.uint8), labels)
    >>> print("\\n".join(describe({"train": split}, ("ant", "bee", "cat"))))
    train       123 images
    classes     3, training images from 101 (ant) to 2 (cat), imbalance ratio 50.5
    shots       many / medium / few: 1 / 1 / 1 (few < 20), 1 / 0 / 2 (few <= 20)
    """
    for part, split in splits.items():
        yield f"{part:<12}{len(split):,} images"
    counts = longtail.class_counts(splits["train"].labels, len(class_names))
    if not len(counts):
        return
    largest, smallest = int(counts.argmax()), int(counts.argmin())
    ratio = f"{counts[largest] / counts[smallest]:,.1f}" if counts[smallest] else "infinite"
    ends = f"from {counts[largest]:,} ({class_names[largest]}) to {counts[smallest]:,} ({class_names[smallest]})"
    yield f"{'classes':<12}{len(counts):,}, training images {ends}, imbalance ratio {ratio}"
    shots = []
    for rule, max_few in (("< 20", 19), ("<= 20", 20)):
        groups = longtail.shot_groups(counts, max_few=max_few)
        shots.append(f"{' / '.join(f'{int(group.sum()):,}' for group in groups.values())} (few {rule})")
    yield f"{'shots':<12}many / medium / few: {', '.join(shots)}"


def _print_kinds(files: list[tuple[EncodedImages, int]], decode: bool) -> int:
    """Print formats, kinds and sizes of ``files``; returns the number of those that cannot be decoded."""
    # A sample is spread evenly over the splits and so over their classes.
    chosen = (
        files if decode else [files[i] for i in np.linspace(0, len(files) - 1, min(SAMPLE, len(files))).astype(int)]
    )
    if not chosen:
        return 0
    kinds = list(image_kind.identify_all(chosen, decode=decode))
    good = [kind for kind in kinds if not kind.reason]
    how = "decoded" if decode else "looked at by their headers (--decode reads all of each)"
    read = len(good) if decode else len(chosen)
    print(f"{'files':<12}{read:,} of {len(files):,} {how}")
    for title, field in (("formats", "format"), ("pixels", "kind")):
        numbers = collections.Counter(getattr(kind, field) for kind in good).most_common()
        print(f"{title:<12}{', '.join(f'{name} {number:,}' for name, number in numbers)}")
    if good:
        sizes = np.array([(kind.width, kind.height) for kind in good])
        columns = zip(("width", "height", "shorter side"), (*sizes.T, sizes.min(axis=1)), strict=True)
        ranges = [f"{title} {v.min()} to {v.max()}, median {np.median(v):g}" for title, v in columns]
        print(f"{'sizes':<12}{'; '.join(ranges)}")
    bad = [(*entry, kind.reason) for entry, kind in zip(chosen, kinds, strict=True) if kind.reason]
    if bad:
        print(f"{len(bad):,} cannot be decoded (copy them again, take them out, or data.photos.on_bad_image=skip)")
        for line in problems.first_lines([f"{images.where(i)}: {reason}" for images, i, reason in bad]):
            print(f"  {line}")
    return len(bad)
