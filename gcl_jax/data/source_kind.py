"""The description of a data source: which module reads it, and what the config has to say for it."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class SourceKind:
    """A data source: ``module`` reads it by ``read(name, path, photos) -> Source``.

    The module is imported when it is used: TensorFlow stays out of runs that do not need it. ``photos`` are the keys of
    config.data.photos. A ``listed`` source, and one of folders, has ``find``, too, for `gcl_jax.data inspect`.
    """

    module: str
    named: bool = False  # config.data.name chooses what is read
    listed: bool = False  # the lists of config.data.photos do
    users_own: bool = False  # it reads whatever data a user has, at config.data.path
    photographs: bool = False  # its images stay on disk, as `EncodedImages`
    checked: bool = False  # each photograph was decoded once when they were written
