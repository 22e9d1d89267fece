"""What a run is made of: data, loader and compiled stages, each made once and shared by all seeds."""

import math
from collections.abc import Callable, Mapping, Sequence

import jax
from ml_collections import ConfigDict

from gcl_jax import data
from gcl_jax.data import Dataset
from gcl_jax.runtime import mesh as mesh_lib
from gcl_jax.training import batches
from gcl_jax.training.stage import Stage


class RunContext:
    """Data and compiled stages of ``config``, made when first asked for."""

    def __init__(self, config: ConfigDict):
        self._config, self._stages = config, {}
        self._dataset = self._loader = None
        # By default each seed has devices to itself, where there are enough; on one device seeds take turns: on CPU two
        # ResNet-32 side by side take 2.8 x as long, for their convolutions become grouped ones.
        self.seeds_at_once = config.seeds_at_once or math.gcd(config.num_seeds, jax.device_count())

    @property
    def dataset(self) -> Dataset:
        """The data set, with its long-tailed subset cut and its validation part taken."""
        return self._load()

    def _load(self, **look: Callable[[Dataset], None]) -> Dataset:
        if self._dataset is None:
            keys = ("source", "name", "path", "profile", "imbalance_ratio", "subset_seed", "validation_fraction")
            photos = self._config.data.photos.to_dict()
            self._dataset = data.load(**{key: self._config.data[key] for key in keys}, photos=photos, **look)
        return self._dataset

    def under(self, config: ConfigDict) -> "RunContext":
        """The stages of another config on the same data, which are loaded and put on the devices once."""
        found = RunContext(config)
        found._dataset, found._loader = self.dataset, self.loader
        return found

    @property
    def loader(self):
        """The loader of `dataset`."""
        if self._loader is None:
            block = self._config.data
            self._loader = data.make_loader(block.loader, self.dataset, self._mesh(), resize=block.photos.resize)
        return self._loader

    def _mesh(self):
        return mesh_lib.make_mesh(seeds=self.seeds_at_once)

    def build(self, names: Sequence[str], starts: Mapping[str, dict]) -> Dataset:
        """Build every stage, so that what is wrong with a later one shows before the first has trained.

        ``starts`` {where: variables} are what the first of them starts from (see `starts.look`).
        Raises UserError for whatever that is; for batch sizes before photographs are decoded.
        """

        def check_batches(dataset: Dataset) -> None:
            num_train = len(dataset.splits["train"])
            batches.check(self._config, names, num_train, self._mesh(), self.seeds_at_once)

        check_batches(self._load(before_decoding=check_batches))
        for name in names:
            self.stage(name, self.seeds_at_once)
        for start, found in starts.items():
            self.stage(names[0], self.seeds_at_once).accepts(found, start)
        return self.dataset

    def stage(self, name: str, seeds: int) -> Stage:
        """The stage ``name`` for ``seeds`` seeds at once."""
        if (name, seeds) not in self._stages:
            self._stages[name, seeds] = Stage(self._config, name, self.dataset, self.loader, self._mesh(), seeds)
        return self._stages[name, seeds]
