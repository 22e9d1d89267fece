"""A small vision transformer with dropout, and a head that takes its tokens."""

from collections.abc import Callable
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from gcl_jax.models import BACKBONES, HEADS, Features
from gcl_jax.registry import option


class Block(nn.Module):
    """Attention, then a perceptron of one hidden layer, each after a norm, with dropout, and added to what comes in."""

    heads: int
    rate: float
    dense: Callable[..., nn.Module]

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        batch, tokens, width = x.shape
        y = self.dense(3 * width, name="qkv")(nn.LayerNorm(name="norm1")(x))
        q, k, v = jnp.moveaxis(y.reshape(batch, tokens, 3, self.heads, -1), 2, 0)
        y = nn.dot_product_attention(q, k, v).reshape(x.shape)
        x = x + nn.Dropout(self.rate)(self.dense(width, name="out")(y), deterministic=not train)
        y = nn.gelu(self.dense(2 * width, name="fc1")(nn.LayerNorm(name="norm2")(x)))
        return x + nn.Dropout(self.rate)(self.dense(width, name="fc2")(y), deterministic=not train)


class SmallTransformer(nn.Module):
    """Images [B, H, W, c] -> ``tokens`` [B, H / patch * W / patch, width]; its keys are config.model's."""

    dtype: jnp.dtype = jnp.float32
    width: int = option(32, "[4, 4096]")
    depth: int = option(2, "[1, 100]")
    attention_heads: int = option(4, "[1, 64]")
    patch: int = option(2, "[1, 64]")
    dropout: float = option(0.1, "[0, 0.99]")

    def dense(self) -> Callable[..., nn.Module]:
        """What makes the blocks' matrices; `low_rank_adapter` has others."""
        return partial(nn.Dense, dtype=self.dtype)

    @nn.compact
    def __call__(self, images: jax.Array, *, train: bool) -> Features:
        x = nn.Conv(self.width, 2 * (self.patch,), 2 * (self.patch,), dtype=self.dtype, name="embed")(images)
        x = x.reshape(x.shape[0], -1, self.width)  # not len(x): an export has any batch
        x = x + self.param("positions", nn.initializers.normal(0.02), x.shape[1:])
        for i in range(self.depth):
            x = Block(self.attention_heads, self.dropout, self.dense(), name=f"block{i}")(x, train=train)
        return Features(tokens=nn.LayerNorm(dtype=self.dtype, name="norm")(x))


class TokenHead(nn.Module):
    """A linear classifier of a weighted mean of the tokens, whose weights are a softmax over them."""

    num_classes: int
    takes = "tokens"

    @nn.compact
    def __call__(self, tokens: jax.Array, *, train: bool = False) -> dict[str, jax.Array]:
        tokens = tokens.astype(jnp.float32)
        weight = nn.softmax(nn.Dense(1, name="attention")(tokens), axis=1)
        pooled = jnp.sum(weight * tokens, axis=1)
        return {"features": pooled, "scores": nn.Dense(self.num_classes, name="classifier")(pooled)}


BACKBONES.register("small_transformer", SmallTransformer)
HEADS.register("token_attention", TokenHead)
