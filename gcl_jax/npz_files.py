"""Reading .npz files: plain arrays alone, and no more memory than a file can fill."""

import collections
import contextlib
import math
import os
import zipfile
from collections.abc import Iterator
from typing import IO, NamedTuple

import numpy as np

from gcl_jax import regular_files
from gcl_jax.errors import UserError

EXPANSION = {zipfile.ZIP_STORED: 1, zipfile.ZIP_DEFLATED: 1032}  # the most bytes that one can become
# Images shrink to a third, drawings to a twentieth: what grows by more, and to gigabytes, is made to fill a memory.
MOST, MOST_EXPANSION = 2**30, 100


def read(path: str, key: str) -> dict[str, np.ndarray]:
    """All arrays of the .npz ``path`` by name, read without pickle.

    Raises UserError, which names ``key``, for a file that is missing, damaged, encrypted or no .npz, that holds objects
    or two arrays of one name, or that unpacks to far more than it holds.
    """
    with regular_files.opened(path, key) as stream:
        try:
            return _arrays(stream)
        except MemoryError:
            raise
        except Exception as error:  # whatever zipfile and numpy trip over in what is no .npz
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            file = regular_files.shown(path)
            raise UserError(
                f"{key}: {file} is not a readable .npz of plain arrays ({regular_files.shown(reason)}); write it again"
            ) from error


def _arrays(stream: IO[bytes]) -> dict[str, np.ndarray]:
    if stream.read(len(np.lib.format.MAGIC_PREFIX)) == np.lib.format.MAGIC_PREFIX:
        raise ValueError("it is a single array, as np.save writes it: np.savez(FILE, NAME=ARRAY, ...) writes an .npz")
    with zipfile.ZipFile(stream) as archive:
        members = archive.infolist()
        require_sane(members, stream.seek(0, os.SEEK_END))
        return {_name(member): array(archive, member) for member in members}


def _name(member: zipfile.ZipInfo) -> str:
    return member.filename.removesuffix(".npy")


class Header(NamedTuple):
    """What the header of a .npy says of its array."""

    shape: tuple[int, ...]
    fortran_order: bool
    dtype: np.dtype


def require_sane(members: list[zipfile.ZipInfo], size: int) -> None:
    """Raise ValueError for what the directory of an archive of ``size`` bytes says and no .npz has."""
    twice = [name for name, number in collections.Counter(map(_name, members)).items() if number > 1]
    if twice:
        raise ValueError(f"it holds {twice[0]} {'twice' if len(twice) == 1 else 'and others twice'}")
    for member in members:
        if member.flag_bits & 1:
            raise ValueError(f"{_name(member)} is encrypted")
        if member.compress_type not in EXPANSION:
            raise ValueError(f"{_name(member)} is compressed in a way that numpy does not write")
        if member.file_size > EXPANSION[member.compress_type] * member.compress_size:
            raise ValueError(f"{_name(member)} is said to hold {member.file_size:,} bytes and cannot")
    if sum(member.compress_size for member in members) > size:
        raise ValueError("its arrays share bytes")
    total = sum(member.file_size for member in members)
    if total > max(MOST, MOST_EXPANSION * size):
        raise ValueError(f"its {size:,} bytes unpack to {total:,}: np.savez writes it uncompressed")


def array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    """One array; ValueError before any memory is taken for it where its header asks for more bytes than there are."""
    with opened(archive, member):
        pass
    with archive.open(member) as stream:
        return np.lib.format.read_array(stream, allow_pickle=False)


@contextlib.contextmanager
def opened(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[tuple[IO[bytes], Header]]:
    """The array ``member`` as a stream of its bytes, and its header; ValueError where they do not fit together.

    Read to its end, the stream raises zipfile.BadZipFile where its checksum is wrong.
    """
    with archive.open(member) as stream:
        try:
            version = np.lib.format.read_magic(stream)
        except ValueError as error:
            raise ValueError(f"{_name(member)} is no array") from error
        header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        if version not in header:
            raise ValueError(f"{_name(member)} is of another version of numpy's format, {version}")
        array_header = Header(*header[version](stream))
        if array_header.dtype.hasobject:
            raise ValueError(f"{_name(member)} holds Python objects")
        there = member.file_size - stream.tell()
        if (
            min(array_header.shape, default=0) < 0
            or math.prod(array_header.shape) * array_header.dtype.itemsize != there
        ):
            raise ValueError(
                f"{_name(member)} is said to be {array_header.dtype}{list(array_header.shape)} and has {there:,} bytes"
            )
        yield stream, array_header
