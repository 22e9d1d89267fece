"""Photographs of prepared TensorFlow Datasets that published lists name, with the labels of those lists."""

import dataclasses
import json
import posixpath
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from etils import epath
from tqdm import tqdm

from gcl_jax import json_files, logs, regular_files
from gcl_jax.data import lists, records, tfds_folder
from gcl_jax.data.dataset import Source
from gcl_jax.data.problems import Problem, require_none
from gcl_jax.errors import UserError, require_one_of
from gcl_jax.runtime import distributed, quiet_tensorflow

CHUNK = 256  # records in memory
NAMES = "gcl_jax_names.json"  # in the data set's folder: TFDS itself has no index by name


def folder_and_name(path: str) -> str:
    """The last folder and the name in a list's path of an image of Places; of a validation image the name alone.

    >>> folder_and_name("train/apartment_building-outdoor/00000001.jpg")
    'apartment_building-outdoor/00000001.jpg'
    >>> folder_and_name("val/airfield/Places365_val_00003597.jpg")
    'Places365_val_00003597.jpg'
    """
    folder, name = posixpath.split(path)
    return name if "_val_" in name else posixpath.join(posixpath.basename(folder), name)


def places_in_tfds(filename: str) -> str:
    """The result of `folder_and_name` for the image that TFDS stores as ``filename``.

    >>> places_in_tfds("data_256/a/apartment_building/outdoor/00000001.jpg")
    'apartment_building-outdoor/00000001.jpg'
    >>> places_in_tfds("val_256/Places365_val_00003597.jpg")
    'Places365_val_00003597.jpg'
    """
    folder, name = posixpath.split(filename)
    return posixpath.join("-".join(folder.split("/")[2:]), name)


def stem(path: str) -> str:
    """The name of an image without folder and suffix.

    >>> stem("train_val2018/Aves/2761/0ac31e.jpg")
    '0ac31e'
    """
    return posixpath.basename(path).partition(".")[0]


@dataclasses.dataclass(frozen=True)
class Naming:
    """The feature that holds an image's name, and functions that make equal keys of that name and of a list's path."""

    feature: str
    of_tfds: Callable[[str], str]
    of_list: Callable[[str], str]


NAMINGS = {
    "imagenet2012": Naming("file_name", str, posixpath.basename),
    "places365_small": Naming("filename", places_in_tfds, folder_and_name),
    "i_naturalist2018": Naming("id", str, stem),
}
SPLITS = ("train", "validation")  # those with labels; names tell images of one from those of the other


def read(name: str, path: str, photos: Mapping) -> Source:
    """The images of ``name`` in the TFDS folder ``path`` ("" = TFDS's default) that the lists of ``photos`` name.

    The lists are read as those of files are (see `lists.read`); the training and validation split are searched for the
    images of every list. The first time all records are read for their names, which are kept in the data set's folder.

    Raises UserError unless the data set is prepared for random access, and one for all problems of all lists.
    """
    source, problems = find(name, path, photos)
    require_none(name, problems)
    return source


def find(name: str, path: str, photos: Mapping) -> tuple[Source, list[Problem]]:
    """What `read` returns, of the entries that are good, and the problems of the others.

    Raises UserError only where the data set, or a whole list, cannot be read.
    """
    require_one_of("config.data.name, of data.source='tfds_list',", name, NAMINGS)
    naming = NAMINGS[name]
    builder, store = _open(name, path)
    places = {naming.of_tfds(filename): i for i, filename in enumerate(_names(builder, store, naming.feature))}

    def missing(paths):
        return (
            (i, "not in TFDS") for i, encoded_name in enumerate(paths) if naming.of_list(encoded_name) not in places
        )

    def images(paths):
        indices = np.array([places[naming.of_list(list_path)] for list_path in paths.tolist()], np.int64)
        full_name = builder.info.full_name
        hint = "prepare the data set again, or set --config.data.photos.on_bad_image=skip in a new --workdir"
        # TFDS has encoded a few images anew, and places365_small holds smaller ones: they differ from the list's files.
        return records.Records(
            store, paths, indices, photos["size"], full_name, hint, change=full_name, feature="image"
        )  # fmt: skip

    return lists.find_listed(name, photos, missing, images)


def _open(name: str, path: str) -> tuple[Any, Any]:
    """TFDS's builder of a data set, and its records by index, those of the training split first."""
    try:
        quiet_tensorflow.load()
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise UserError(
            f"data.source='tfds_list' needs TensorFlow Datasets ({error.name} is missing): pip install 'gcl_jax[tf]'"
        ) from error
    builder = tfds_folder.builder(name, path)
    folder = regular_files.shown(path or builder.data_dir)
    prepare = f"tfds.builder('{name}', file_format='array_record').download_and_prepare()"
    if not builder.is_prepared():
        raise UserError(
            f"{name} is not prepared in {folder}: run {prepare}, or name its folder with --config.data.path=DIR"
        )
    array_record = tfds.core.FileFormat.ARRAY_RECORD
    if array_record not in builder.info.available_file_formats():
        raise UserError(
            f"{name} in {folder} is stored as {builder.info.file_format.value}, which cannot be read at "
            f"random: prepare it with {prepare} in another folder, and name that with --config.data.path=DIR"
        )
    splits = "+".join(split for split in SPLITS if split in builder.info.splits)
    if not splits:
        raise UserError(f"{name} in {folder} has neither of the splits {' and '.join(SPLITS)}: {prepare}")
    raw = tfds.decode.DeserializeMethod.RAW_BYTES
    return builder, builder.as_data_source(splits, deserialize_method=raw, file_format=array_record)


def _names(builder: Any, store: Any, feature: str) -> list[str]:
    """The name of the image in every record, from the file `NAMES` where it exists; else they are read and written."""
    file = epath.Path(builder.data_dir) / NAMES
    if file.exists():
        try:
            with regular_files.opened(file, NAMES) as stream:
                names = json.loads(stream.read())
        except (UserError, ValueError, RecursionError):
            names = []
        if isinstance(names, list) and {*map(type, names)} == {str} and len(names) == len(store):
            return names
    names = []
    for start in tqdm(range(0, len(store), CHUNK), desc="names", disable=None, leave=False):
        try:
            chunk = store.__getitems__(list(range(start, min(start + CHUNK, len(store)))))
            names += [records.value(record, feature).decode() for record in chunk]
        except Exception as error:  # whatever ArrayRecord, protocol buffers and TFDS raise for what is damaged
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise UserError(
                f"{builder.info.full_name}: records from {start:,} on cannot be read ({reason}): prepare it again"
            ) from error
    try:
        if distributed.is_first():
            json_files.write(file, names)
    except UserError as error:
        cause = error.__cause__
        logs.log_info(
            f"{builder.info.name}: the names of its images cannot be kept ({cause}) and are read at every start"
        )
    return names
