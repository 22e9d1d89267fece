"""Low-rank adapters (Hu et al. 2022) on the small transformer; the stage's rules freeze all but them and the head.

trainable = r"head/|.*/(down|up)$"       restore = r"(?!.*/(down|up)$)"
"""

from collections.abc import Callable
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from small_transformer import SmallTransformer

from gcl_jax.models import BACKBONES
from gcl_jax.registry import option


class AdaptedDense(nn.Module):
    """x W + b + x down up, with W and b named as `nn.Dense`'s are; ``up`` starts at 0."""

    features: int
    rank: int
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        size = x.shape[-1]
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (size, self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        down = self.param("down", nn.initializers.normal(size**-0.5), (size, self.rank))
        up = self.param("up", nn.initializers.zeros, (self.rank, self.features))
        x, kernel, bias, down, up = nn.dtypes.promote_dtype(x, kernel, bias, down, up, dtype=self.dtype)
        return x @ kernel + bias + (x @ down) @ up


class AdaptedTransformer(SmallTransformer):
    """`SmallTransformer` with an adapter of ``adapter_rank`` beside each of its matrices."""

    adapter_rank: int = option(2, "[1, 1024]")

    def dense(self) -> Callable[..., nn.Module]:
        return partial(AdaptedDense, rank=self.adapter_rank, dtype=self.dtype)


BACKBONES.register("adapted_transformer", AdaptedTransformer)
