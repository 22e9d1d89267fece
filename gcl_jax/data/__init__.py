"""Data: sources that read, the long-tailed cut, and loaders with one contract.

The contract of a loader is `loader.Loader`; device and host deliver the same uint8 images for the same plan. A loader
of photographs crops where it decodes, with random numbers that ``crop_noise`` gives it.
"""

# `python -m gcl_jax.data` imports this before it can look at JAX's settings: nothing here imports JAX.
import functools
import importlib
import posixpath
import types
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from gcl_jax.data import class_counts
from gcl_jax.data.dataset import Dataset, Source, Split, cut, left_out
from gcl_jax.data.encoded_images import EncodedImages
from gcl_jax.data.source_kind import SourceKind
from gcl_jax.errors import UserError, require_one_of
from gcl_jax.registry import Registry

if TYPE_CHECKING:
    from jax.sharding import Mesh

    from gcl_jax.data.loader import Loader

SOURCES: Registry[SourceKind] = Registry(
    "data source",
    {
        "digits": SourceKind("gcl_jax.data.digits"),
        "arrays": SourceKind("gcl_jax.data.arrays", users_own=True),
        "tfds": SourceKind("gcl_jax.data.tfds", named=True),
        "list": SourceKind("gcl_jax.data.lists", users_own=True, listed=True, photographs=True),
        "folder": SourceKind("gcl_jax.data.folder", users_own=True, photographs=True),
        "packed": SourceKind("gcl_jax.data.packed", users_own=True, photographs=True, checked=True),
        "tfds_list": SourceKind("gcl_jax.data.tfds_list", named=True, listed=True, photographs=True),
    },
)
LOADERS = {"device": ("gcl_jax.data.device", "DeviceLoader"), "host": ("gcl_jax.data.host", "HostLoader")}


def reader(source: str) -> types.ModuleType:
    """The module that reads ``source``, see `SourceKind`; UserError for an unknown one."""
    require_one_of("config.data.source", source, SOURCES)
    return importlib.import_module(SOURCES[source].module)


def holds_photographs(source: str) -> bool:
    """Whether images of ``source`` stay on disk; False for a source that is unknown."""
    return source in SOURCES and SOURCES[source].photographs


def load(
    *,
    source: str,
    name: str,
    path: str,
    profile: str,
    imbalance_ratio: float,
    subset_seed: int,
    validation_fraction: float,
    photos: Mapping | None = None,
    before_decoding: Callable[[Dataset], None] | None = None,
) -> Dataset:
    """Read a source and cut its long-tailed training subset; ``photos`` are the keys of config.data.photos.

    ``before_decoding`` is called with photographs that are not decoded yet, which takes long: images that turn out to
    be bad are among them.

    What to know of the data, such as test images that are training images too, is said (see `remarks`).

    Raises UserError for an unknown source, data that are missing, damaged or do not fit together, and too few images.
    """
    from gcl_jax import logs
    from gcl_jax.data import corrupt
    from gcl_jax.data.remarks import remarks
    from gcl_jax.runtime import distributed

    photos = photos or {}
    data = reader(source).read(title(source, name, path), path, photos)
    as_asked = functools.partial(
        cut,
        profile=profile,
        imbalance_ratio=imbalance_ratio,
        subset_seed=subset_seed,
        validation_fraction=validation_fraction,
        counts=class_counts.read(photos["counts"]) if profile == "counts" else None,
    )
    kind = SOURCES[source]
    # A pack has only images that were decoded when it was written; what has become damaged since is to be packed again.
    if kind.photographs and not kind.checked:
        if before_decoding:
            try:
                undecoded = as_asked(data)
            except UserError:
                if photos["on_bad_image"] != "skip":  # without those that are skipped, the cut may succeed
                    raise
            else:
                before_decoding(undecoded)
        data = corrupt.drop_corrupt(data, photos["on_bad_image"])
    dataset = as_asked(data)
    # A published set is cut by its protocol; of somebody's own data that may not be meant.
    if kind.users_own and (message := left_out(data, dataset, profile)):
        logs.log_info(f"{path}: training takes {message}")
    if distributed.is_first():  # it alone prints, and the others need not read files for it
        for line in remarks(dataset.splits, dataset.class_names):
            logs.log_info(f"{dataset.name}: {line}")
    return dataset


def title(source: str, name: str, path: str) -> str:
    """What data are called: by ``name``, or, where that is still the digits' and they are others, by their place.

    >>> title("digits", "digits", ""), title("folder", "digits", "photos/groceries/"), title("folder", "mine", "photos")
    ('digits', 'groceries', 'mine')
    """
    if source == "digits" or SOURCES[source].named or name != "digits":
        return name
    folder_name = posixpath.basename(posixpath.normpath(path)) if path else ""
    return folder_name.removesuffix(".npz") or source


def make_loader(name: str, dataset: Dataset, mesh: "Mesh", *, resize: int = 256) -> "Loader":
    """The loader ``name`` ("device" or "host") over ``dataset``; ``resize`` is the shorter side of test photographs.

    Raises UserError for photographs on the device: decoded they do not fit it.
    """
    require_one_of("config.data.loader", name, LOADERS)
    if isinstance(dataset.splits["train"].images, EncodedImages):
        if name != "host":
            raise UserError("config.data.loader is 'device', but photographs are decoded on the host: set it to 'host'")
        from gcl_jax.data.photo_loader import PhotoLoader

        return PhotoLoader(dataset, mesh, resize)
    module, cls = LOADERS[name]
    return getattr(importlib.import_module(module), cls)(dataset, mesh)


__all__ = [
    "LOADERS",
    "SOURCES",
    "Dataset",
    "Source",
    "SourceKind",
    "Split",
    "cut",
    "holds_photographs",
    "left_out",
    "load",
    "make_loader",
    "reader",
    "title",
]
