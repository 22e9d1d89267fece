"""A network: a backbone that turns images into features, and a head that scores classes."""

import flax.linen as nn
import jax

from gcl_jax.errors import UserError
from gcl_jax.models.features import Features


class Network(nn.Module):
    """Backbone and head: images [B, H, W, c] -> {"features": [B, D], "scores": [B, C], ...}.

    A head returns scores, or a dict with them and more for its method; it may hold batch norm. Parameters live under
    ``backbone`` and ``head``, which is how rules tell them apart. A head's ``takes`` names the field of `Features` that
    it gets ("pooled", "map", "tokens"; "all" is the whole); where it has features of its own, it returns them, too.
    """

    backbone: nn.Module
    head: nn.Module

    def __call__(self, images: jax.Array, *, train: bool) -> dict[str, jax.Array]:
        return self.classify(self.features(images, train=train), train=train)

    def features(self, images: jax.Array, *, train: bool, **options) -> Features:
        """The backbone alone; ``options`` are its own, such as the expert of one with several."""
        return self.backbone(images, train=train, **options)

    def classify(self, features: Features, *, train: bool, **options) -> dict[str, jax.Array]:
        """The head alone; ``options`` are its own. Raises UserError where the backbone has not what it takes."""
        takes = getattr(self.head, "takes", "pooled")
        given = features if takes == "all" else getattr(features, takes)
        if given is None:
            raise UserError(
                f"the head {type(self.head).__name__} takes {takes} features, which {type(self.backbone).__name__} has "
                "not: choose another config.STAGE.head or config.model.name"
            )
        out = self.head(given, train=train, **options)
        pooled = {} if features.pooled is None else {"features": features.pooled}
        return pooled | (out if isinstance(out, dict) else {"scores": out})
