"""The parts that all seeds of a run share: data, loader and compiled stages, each made once."""

import math
from collections.abc import Callable, Mapping, Sequence

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from gcl_jax import data
from gcl_jax.data import Dataset
from gcl_jax.data.loader import Loader
from gcl_jax.runtime import mesh as mesh_lib
from gcl_jax.training import batches
from gcl_jax.training.stage import Stage


class RunContext:
    """Data, loader and compiled stages of ``config``, each made at its first use."""

    def __init__(self, config: ConfigDict):
        self._config = config
        self._stages: dict[tuple[str, int], Stage] = {}
        self._dataset: Dataset | None = None
        self._loader: Loader | None = None
        # By default each seed has devices to itself, where there are enough; on one device seeds take turns: on CPU two
        # ResNet-32 side by side take 2.8 x as long, because their convolutions become grouped ones.
        self.seeds_at_once = config.seeds_at_once or math.gcd(config.num_seeds, jax.device_count())

    @property
    def dataset(self) -> Dataset:
        """The data set, with its long-tailed subset cut and its validation part taken."""
        return self._load()

    def _load(self, before_decoding: Callable[[Dataset], None] | None = None) -> Dataset:
        if self._dataset is None:
            keys = ("source", "name", "path", "profile", "imbalance_ratio", "subset_seed", "validation_fraction")
            photos = self._config.data.photos.to_dict()
            arguments = {key: self._config.data[key] for key in keys}
            self._dataset = data.load(**arguments, photos=photos, before_decoding=before_decoding)
        return self._dataset

    def with_config(self, config: ConfigDict) -> "RunContext":
        """The context of another config on the same data, which are loaded and put on the devices only once."""
        context = RunContext(config)
        context._dataset, context._loader = self.dataset, self.loader
        return context

    @property
    def loader(self) -> Loader:
        """The loader of `dataset`."""
        if self._loader is None:
            block = self._config.data
            self._loader = data.make_loader(block.loader, self.dataset, self._mesh(), resize=block.photos.resize)
        return self._loader

    def _mesh(self) -> Mesh:
        return mesh_lib.make_mesh(seeds=self.seeds_at_once)

    def build(self, names: Sequence[str], starts: Mapping[str, dict]) -> Dataset:
        """Build every stage, so that an error in a later one shows before the first has trained.

        ``starts`` {origin: variables} are what the first of them starts from (see `starts.load_starts`).
        Raises UserError for a stage that cannot be built; for batch sizes before photographs are decoded.
        """

        def check_batches(dataset: Dataset) -> None:
            num_train = len(dataset.splits["train"])
            batches.check(self._config, names, num_train, self._mesh(), self.seeds_at_once)

        check_batches(self._load(before_decoding=check_batches))
        for name in names:
            self.stage(name, self.seeds_at_once)
        for origin, variables in starts.items():
            self.stage(names[0], self.seeds_at_once).check_start(variables, origin)
        return self.dataset

    def stage(self, name: str, seeds: int) -> Stage:
        """The stage ``name`` for ``seeds`` seeds at once."""
        if (name, seeds) not in self._stages:
            self._stages[name, seeds] = Stage(self._config, name, self.dataset, self.loader, self._mesh(), seeds)
        return self._stages[name, seeds]
