"""Networks: a backbone that turns images into features and a head that scores classes."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from gcl_jax.errors import require_one_of
from gcl_jax.models import calibrated_heads
from gcl_jax.models.feature_layer import FeatureLayerHead
from gcl_jax.models.heads import CosineHead, LinearHead, UniformLinearHead
from gcl_jax.models.meta_embedding import MetaEmbeddingHead
from gcl_jax.models.normalized_head import TwoPartNormalizedHead
from gcl_jax.models.projection_heads import ProjectionHead
from gcl_jax.models.resnet import ResNet
from gcl_jax.models.resnet_cifar import ResNetCifar

# Small-image ResNets of depth 6 n + 2; ResNet-8 is meant for 8 x 8 digits.
BACKBONES = {f"resnet{6 * n + 2}": partial(ResNetCifar, blocks=n) for n in (1, 3, 5, 7, 9, 18)}
TWO_BRANCHES = {f"{name}_two_branch": partial(make, two_branches=True) for name, make in BACKBONES.items()}
PHOTOGRAPH_BACKBONES = {
    "resnet10": partial(ResNet, (1, 1, 1, 1), bottleneck=False),
    "resnet18": partial(ResNet, (2, 2, 2, 2), bottleneck=False),
    "resnet34": partial(ResNet, (3, 4, 6, 3), bottleneck=False),
    "resnet50": partial(ResNet, (3, 4, 6, 3)),
    "resnet101": partial(ResNet, (3, 4, 23, 3)),
    "resnet152": partial(ResNet, (3, 8, 36, 3)),
    "resnext50_32x4d": partial(ResNet, (3, 4, 6, 3), groups=32, group_width=4),
}
BACKBONES |= TWO_BRANCHES | PHOTOGRAPH_BACKBONES

HEADS = {
    "linear": LinearHead,
    "linear_uniform": UniformLinearHead,
    "cosine": CosineHead,
    "two_part_normalized": TwoPartNormalizedHead,
    "linear_512": partial(FeatureLayerHead, width=512),
    "meta_embedding": MetaEmbeddingHead,
    "meta_embedding_512": partial(MetaEmbeddingHead, width=512),
    "projection": ProjectionHead,
    "projection_prototypes": partial(ProjectionHead, prototypes=True),
    "linear_lws": calibrated_heads.LinearLWS,
    "cosine_lws": calibrated_heads.CosineLWS,
    "linear_disalign": calibrated_heads.LinearDisAlign,
    "cosine_disalign": calibrated_heads.CosineDisAlign,
    "half_cosine": calibrated_heads.HalfCosine,
    **{
        f"nearest_mean_{variant}": partial(calibrated_heads.NearestMean, variant=variant)
        for variant in ("un", "l2n", "cl2n")
    },
}
# Heads of the last feature map [B, H, W, D], not of its mean [B, D].
TAKES_MAP = frozenset({"meta_embedding", "meta_embedding_512"})


class Network(nn.Module):
    """Backbone and head: images [B, H, W, c] -> {"features": [B, D], "scores": [B, C], ...}.

    A head returns scores, or a dict with them and more for its method. Parameters live under
    ``backbone`` and ``head``, which is how methods tell them apart. Where ``head_takes_map``, the head gets the last
    feature map instead of its mean, and returns the features that it makes of it.
    """

    backbone: nn.Module
    head: nn.Module
    head_takes_map: bool = False

    def __call__(self, images: jax.Array, *, train: bool) -> dict[str, jax.Array]:
        return self.scores(self.features(images, train=train))

    def features(self, images: jax.Array, *, train: bool, **options) -> jax.Array:
        """The backbone alone: what the head takes; ``options`` are its own, such as the branch of one with two."""
        unpooled = {"pool": False} if self.head_takes_map else {}
        return self.backbone(images, train=train, **unpooled, **options)

    def scores(self, features: jax.Array, **options) -> dict[str, jax.Array]:
        """The head alone; ``options`` are its own."""
        found = self.head(features, **options)
        return {"features": features, **(found if isinstance(found, dict) else {"scores": found})}


def build(name: str, head: str, num_classes: int, dtype: jnp.dtype = jnp.float32, *, remat: bool = False) -> Network:
    """The network ``name`` with a ``head`` of ``num_classes``; ``dtype`` is that of the convolutions.

    With ``remat`` the backward pass of a network for photographs takes less memory and more time.
    Raises UserError for a name that is not registered, or has no ``remat``.
    """
    require_one_of("config.model.name", name, BACKBONES)
    require_one_of("head", head, HEADS)
    options = {}
    if remat:
        require_one_of("config.model.name with remat", name, PHOTOGRAPH_BACKBONES)
        options["remat"] = True
    return Network(BACKBONES[name](dtype=dtype, **options), HEADS[head](num_classes=num_classes), head in TAKES_MAP)
