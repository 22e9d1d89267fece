"""What a run is made of: data, loader and compiled stages, each made once and shared by all seeds."""

import math
from collections.abc import Sequence

import jax
from ml_collections import ConfigDict

from gcl_jax import data
from gcl_jax.data import Dataset
from gcl_jax.errors import UserError
from gcl_jax.machine import mesh as mesh_lib
from gcl_jax.training.stage import Stage


class Parts:
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
        if self._dataset is None:
            keys = ("source", "name", "path", "profile", "imbalance_ratio", "subset_seed", "validation_fraction")
            photos = self._config.data.photos.to_dict()
            self._dataset = data.load(**{key: self._config.data[key] for key in keys}, photos=photos)
        return self._dataset

    def under(self, config: ConfigDict) -> "Parts":
        """The stages of another config on the same data, which are loaded and put on the devices once."""
        found = Parts(config)
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

    def build(self, names: Sequence[str]) -> Dataset:
        """Build every stage, so that what is wrong with a later one shows before the first has trained.

        Raises UserError for whatever that is, and for a first stage that freezes parameters but starts from nowhere.
        """
        for name in names:
            # The second for a seed that is left over, or that a kill left behind: it has all devices to itself.
            for seeds in {self.seeds_at_once, 1}:
                self.stage(name, seeds).check_batch()
            stage = self.stage(name, self.seeds_at_once)
            if name == names[0] and stage.freezes and not self._config[name].init_from:
                raise UserError(
                    f"config.{name} keeps parameters frozen but has nothing to start from: set "
                    f"--config.{name}.init_from=DIR, or put the stage after another in config.stages"
                )
        return self.dataset

    def stage(self, name: str, seeds: int) -> Stage:
        """The stage ``name`` for ``seeds`` seeds at once."""
        if (name, seeds) not in self._stages:
            self._stages[name, seeds] = Stage(self._config, name, self.dataset, self.loader, self._mesh(), seeds)
        return self._stages[name, seeds]
