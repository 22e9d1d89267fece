"""Writing photographs into a few large files, so that weighted sampling does not have to open many small ones.

The files are ArrayRecord: read at random by index and many at once, with a checksum for each record, and what TFDS
writes too. Against plain files with an index of offsets, in microseconds for a record of 60 to 100 KB in batches of 64:
192 to 147 from a disk (one file an image: 425), 83 to 15 from memory, where decoding takes 1,000. The whole input
pipeline takes 1.05 x the CPU time that it takes with one file an image in memory.
"""

import contextlib
import dataclasses
import io
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tqdm import tqdm

from gcl_jax import json_files, logs
from gcl_jax.data import image_kind, pack_index, packed, records
from gcl_jax.data.dataset import Source, Split
from gcl_jax.data.encoded_images import EncodedImages
from gcl_jax.data.pillow import pillow
from gcl_jax.data.problems import first_lines
from gcl_jax.errors import UserError
from gcl_jax.regular_files import shown

SHARD_BYTES = 256 * 2**20  # bytes of images
QUALITY = 95  # of the JPEGs that replace images that are too large
CHUNK = 256  # images in memory


@dataclasses.dataclass(frozen=True)
class Packed:
    """The bytes of an image in a pack; or ``reason``, why it cannot be packed."""

    encoded: bytes = b""
    resized: bool = False
    reason: str = ""


def pack(source: Source, out: str, *, shorter: int = 0, skip: bool = False) -> dict:
    """Write all splits of ``source``, whose images are photographs, into the folder ``out``; returns the index.

    Images are copied as they are; but with ``shorter``, those whose shorter side is longer are resized to it
    (antialiased, bilinear) and written as JPEG of quality 95. Every image is decoded once. With ``skip``, those that
    cannot be decoded are left out and counted. The index is written last: a folder without it is no pack.

    Raises UserError where ``out`` holds a pack or other files, for a split without an image, and, without ``skip``,
    one for all images that cannot be decoded.
    """
    folder = Path(os.path.expanduser(out))
    _prepare(folder)
    splits: dict[str, dict] = {}
    bad: list[str] = []
    for part, split in source.splits.items():
        splits[part], reasons = _write_split(split, folder, part, shorter)
        bad += reasons
    if bad:
        lines = "".join(f"\n  {line}" for line in first_lines(bad))
        if not skip:
            raise UserError(
                f"{len(bad):,} images cannot be decoded, and nothing is packed (copy them again, take them out, or "
                f"data.photos.on_bad_image=skip):{lines}"
            )
        logs.log_info(f"{source.name}: {len(bad):,} images cannot be decoded and are skipped:{lines}")
    for part, written in splits.items():
        if not written["paths"]:
            raise UserError(f"{source.name}: no {part} image is left, and nothing is packed")
    index = {
        "format": packed.FORMAT,
        "version": packed.VERSION,
        "name": source.name,
        "class_names": list(source.class_names),
        "shorter": shorter,
        "quality": QUALITY,
        "splits": splits,
    }
    index = pack_index.with_checksums(index)
    json_files.write(folder / packed.INDEX, index)
    return index


def _prepare(folder: Path) -> None:
    """Make ``folder``, or remove from it what a pack that was stopped has left; UserError if it holds anything else."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        names = sorted(file.name for file in folder.iterdir())
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"--out: {shown(folder)} cannot be a folder ({reason}): name another") from error
    if packed.INDEX in names:
        raise UserError(f"--out: {folder} holds a pack already: name another folder, or remove it")
    for name in names:
        if not re.fullmatch(rf"(train|test|validation)-\d{{5}}\.array_record|\.{packed.INDEX}\.tmp", name):
            raise UserError(f"--out: {folder} holds {name}, which is of no pack: name an empty folder")
    for name in names:
        (folder / name).unlink()


def _write_split(split: Split, folder: Path, part: str, shorter: int) -> tuple[dict, list[str]]:
    """Write a split; returns its entry of the index, and a line on each image that cannot be decoded."""
    photographs = split.images
    if not isinstance(photographs, EncodedImages):
        raise TypeError(f"{part} holds arrays, and only photographs are packed")
    paths, labels, bad, resized = [], [], [], 0
    with _Shards(folder, part) as shards:
        for i, image in enumerate(_images(photographs, part, shorter)):
            if image.reason:
                bad.append(f"{photographs.where(i)}: {image.reason}")
                continue
            shards.write(image.encoded)
            paths.append(photographs.paths[i])
            labels.append(int(split.labels[i]))
            resized += image.resized
    summary = {"images": len(paths), "skipped": len(bad), "resized": resized, "shards": shards.written}
    if change := getattr(photographs, "change", ""):  # see `records.Records`
        summary["change"] = change
    return summary | {"paths": paths, "labels": labels}, bad


def _images(photographs: EncodedImages, part: str, shorter: int) -> Iterator[Packed]:
    """The images of a split in order, read, decoded and resized on all cores."""
    total = len(photographs)
    with (
        ThreadPoolExecutor(os.cpu_count()) as pool,
        tqdm(total=total, desc=part, unit="image", disable=None, leave=False) as progress,
    ):
        for start in range(0, total, CHUNK):
            positions = range(start, min(start + CHUNK, total))
            for image in pool.map(lambda i: _packed(photographs, i, shorter), positions):
                progress.update()
                yield image


def _packed(images: EncodedImages, position: int, shorter: int) -> Packed:
    try:
        encoded = images.encoded(position)
    except OSError as error:
        return Packed(reason=str(error))
    kind = image_kind.identify(encoded)
    if kind.reason:
        return Packed(reason=kind.reason)
    if not shorter or min(kind.width, kind.height) <= shorter:
        return Packed(encoded)
    return _resized(encoded, shorter)


def _resized(encoded: bytes, shorter: int) -> Packed:
    from gcl_jax.data import decode  # as training decodes: 16 bits, palettes and alpha too

    if reason := decode.problem(encoded):
        return Packed(reason=reason)
    image = pillow().fromarray(decode.decoded(encoded).numpy())
    size = (max(shorter, round(side * shorter / min(image.size))) for side in image.size)
    stream = io.BytesIO()
    image.resize(tuple(size), pillow().BILINEAR).save(stream, "JPEG", quality=QUALITY)
    return Packed(stream.getvalue(), resized=True)


class _Shards:
    """Writes the shards of one split one after the other; ``written`` has an entry for each that is closed."""

    def __init__(self, folder: Path, part: str):
        self._folder, self._part = folder, part
        self._module = records.array_record().array_record_module
        self._writer: Any = None  # array_record's, which has no types
        self._bytes, self._images = 0, 0
        self.written: list[dict] = []

    def __enter__(self) -> "_Shards":
        return self

    def __exit__(self, kind: type | None, error: object, traceback: object) -> None:
        if kind is None:
            self._close()

    def write(self, encoded: bytes) -> None:
        """Append one image."""
        with self._explain_write_errors():
            if self._writer is None:
                self._file = self._folder / f"{self._part}-{len(self.written):05d}.array_record"
                # One image a chunk, for random access; compressed they are already.
                self._writer = self._module.ArrayRecordWriter(str(self._file), "group_size:1,uncompressed")
            self._writer.write(encoded)
        self._bytes, self._images = self._bytes + len(encoded), self._images + 1
        if self._bytes >= SHARD_BYTES:
            self._close()

    @contextlib.contextmanager
    def _explain_write_errors(self) -> Iterator[None]:
        try:
            yield
        except (OSError, RuntimeError) as error:  # the latter are ArrayRecord's
            reason = str(error).strip().splitlines()[0][:200]
            raise UserError(
                f"{self._file} could not be written ({reason}): make room, and give the command again"
            ) from error

    def _close(self) -> None:
        if self._writer is None:
            return
        with self._explain_write_errors():
            self._writer.close()
            _sync(self._file)
            reader = self._module.ArrayRecordReader(str(self._file))
            complete = reader.num_records() == self._images
            reader.close()
        if not complete:
            raise UserError(f"{self._file} could not be written whole: is the disk full?")
        self.written.append({"file": self._file.name, "bytes": self._file.stat().st_size, "images": self._images})
        self._writer, self._bytes, self._images = None, 0, 0


def _sync(file: Path) -> None:
    with open(file, "rb+") as opened:
        os.fsync(opened.fileno())
