"""A batch transform with a second stream: ordinary images mixed with class-balanced ones.

mix = "rare_mixup(1.0)"
"""

import dataclasses

import jax

from gcl_jax.methods import Stream
from gcl_jax.ranges import ranged
from gcl_jax.sampling import ClassBalanced
from gcl_jax.transforms import MIXES, BatchTransform


@dataclasses.dataclass(frozen=True)
class RareMixup(BatchTransform):
    """x <- lam x + (1 - lam) x', x' of the stream "rare", lam ~ Beta(``alpha``, ``alpha``) of each image.

    The weight of the rare image's label rises to that in the last epoch: (1 - lam) * fraction.
    """

    alpha: float = ranged(1.0, "[1e-3, 1000]")

    def streams(self):
        return {"rare": Stream(sampler=ClassBalanced())}

    def __call__(self, key, batches, t):
        main, rare = batches["main"], batches["rare"]
        lam = jax.random.beta(key, self.alpha, self.alpha, (len(main["label"]),))
        part = lam[:, None, None, None]
        weight = (1 - lam) * t.fraction
        mixed = {
            "image": part * main["image"] + (1 - part) * rare["image"],
            "label": main["label"],
            "targets": ((main["label"], 1 - weight), (rare["label"], weight)),
        }
        return {**{name: batch for name, batch in batches.items() if name != "rare"}, "main": mixed}


MIXES.register("rare_mixup", RareMixup)
