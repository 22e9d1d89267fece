"""Networks: backbones that turn images into features, heads that score classes, and their registries.

A backbone is a Linen module, ``backbone(images, *, train) -> Features``, whose `registry.option` fields are keys of
config.model. A head is one, too, ``head(features, *, train) -> scores``, whose ``takes`` says which features.
"""

import inspect
from collections.abc import Callable, Mapping
from functools import partial

import flax.linen as nn
import jax.numpy as jnp

from gcl_jax.errors import require_one_of
from gcl_jax.models import calibrated_heads
from gcl_jax.models.feature_layer import FeatureLayerHead
from gcl_jax.models.features import Features
from gcl_jax.models.heads import CosineHead, LinearHead, UniformLinearHead
from gcl_jax.models.meta_embedding import MetaEmbeddingHead
from gcl_jax.models.network import Network
from gcl_jax.models.normalized_head import TwoPartNormalizedHead
from gcl_jax.models.projection_heads import ProjectionHead
from gcl_jax.models.resnet import ResNet
from gcl_jax.models.resnet_cifar import ResNetCifar
from gcl_jax.registry import OptionRegistry, Registry

BACKBONES: OptionRegistry[nn.Module] = OptionRegistry(
    "backbone",
    {
        # Small-image ResNets of depth 6 n + 2; ResNet-8 is meant for 8 x 8 digits.
        **{f"resnet{6 * n + 2}": partial(ResNetCifar, blocks=n) for n in (1, 3, 5, 7, 9, 18)},
        # For photographs.
        "resnet10": partial(ResNet, layers=(1, 1, 1, 1), bottleneck=False),
        "resnet18": partial(ResNet, layers=(2, 2, 2, 2), bottleneck=False),
        "resnet34": partial(ResNet, layers=(3, 4, 6, 3), bottleneck=False),
        "resnet50": partial(ResNet, layers=(3, 4, 6, 3)),
        "resnet101": partial(ResNet, layers=(3, 4, 23, 3)),
        "resnet152": partial(ResNet, layers=(3, 8, 36, 3)),
        "resnext50_32x4d": partial(ResNet, layers=(3, 4, 6, 3), groups=32, group_width=4),
    },
)

HEADS: Registry[Callable[..., nn.Module]] = Registry(
    "head",
    {
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
    },
)


def call_takes(name: str, argument: str) -> bool:
    """Whether the backbone ``name`` can be called with ``argument``, such as "bn_scope", "expert" or "upto"."""
    entry = BACKBONES[name]
    cls = entry.func if isinstance(entry, partial) else entry
    return argument in inspect.signature(cls.__call__).parameters


def build(model: str | Mapping, head: str, num_classes: int, dtype: jnp.dtype = jnp.float32) -> Network:
    """The network of the block ``model``, or of a backbone's name, with a ``head`` of ``num_classes``.

    ``dtype`` is that of the backbone's activations. Raises UserError for a name that is not registered, and for an
    option that the backbone does not have.
    """
    block = {"name": model} if isinstance(model, str) else model
    require_one_of("head", head, HEADS)
    return Network(BACKBONES.build(block, "config.model", dtype=dtype), HEADS[head](num_classes=num_classes))


__all__ = ["BACKBONES", "HEADS", "Features", "Network", "build", "call_takes"]
