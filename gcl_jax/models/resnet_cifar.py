"""ResNets for small images (He et al. 2016, section 4.2; LDAM's ``ResNet_s``): depth 6 n + 2."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from gcl_jax.models.conv import Conv
from gcl_jax.models.cut import run_blocks
from gcl_jax.models.features import Features
from gcl_jax.models.norm import BatchNorm
from gcl_jax.models.pool import mean_pool
from gcl_jax.registry import option


class BasicBlock(nn.Module):
    """conv-BN-ReLU-conv-BN plus an option-A shortcut: every second pixel, zero channels on both sides."""

    filters: int
    stride: int
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        y = Conv(self.filters, self.stride, self.dtype, name="conv1")(x)
        y = nn.relu(BatchNorm(dtype=self.dtype, name="bn1")(y, train=train))
        y = Conv(self.filters, dtype=self.dtype, name="conv2")(y)
        y = BatchNorm(dtype=self.dtype, name="bn2")(y, train=train)
        missing = self.filters - x.shape[-1]
        if self.stride != 1 or missing:
            x = x[:, :: self.stride, :: self.stride]
            x = jnp.pad(x, ((0, 0), (0, 0), (0, 0), (missing // 2, missing - missing // 2)))
        return nn.relu(y + x)


class ResNetCifar(nn.Module):
    """Images [B, H, W, c] -> `Features`: stem, three stages of ``blocks`` at 16, 32, 64 filters, mean pool.

    ``map`` is [B, H / 4, W / 4, 64]. With K ``experts`` the last block exists K times, and the features of all stand
    side by side, [B, K * 64]; ``expert`` takes those of one alone. (The first two are BBN's conventional and
    re-balancing branch, Zhou et al. 2020, and have their names.) The blocks are "stem", "layer1_0", ...: with ``upto``
    the activations after that block, with ``start`` it is these that come in. The experts' blocks lie above all.
    """

    blocks: int
    dtype: jnp.dtype = jnp.float32
    experts: int = option(1, "[1, 64]")

    @nn.compact
    def __call__(
        self, images: jax.Array, *, train: bool, expert: int | None = None, start: str = "", upto: str = ""
    ) -> Features | jax.Array:
        def stem(x):
            x = Conv(16, dtype=self.dtype, name="conv1")(x)
            return nn.relu(BatchNorm(dtype=self.dtype, name="bn1")(x, train=train))

        def block(name, filters, stride):
            return lambda x: BasicBlock(filters, stride, self.dtype, name=name)(x, train=train)

        layout = [
            (f"layer{stage}_{place}", filters, 2 if stage > 1 and place == 0 else 1)
            for stage, filters in enumerate((16, 32, 64), start=1)
            for place in range(self.blocks)
        ]
        shared, (_, filters, stride) = (layout[:-1] if self.experts > 1 else layout), layout[-1]
        named = [("stem", stem), *((name, block(name, *shape)) for name, *shape in shared)]
        x = run_blocks(named, images, start=start, upto=upto)
        if upto:
            return x
        if self.experts == 1:
            return Features(pooled=mean_pool(x), map=x)
        chosen = range(self.experts) if expert is None else [expert]
        maps = [block(_expert_block(i), filters, stride)(x) for i in chosen]
        return Features(pooled=jnp.concatenate([mean_pool(y) for y in maps], -1), map=jnp.concatenate(maps, -1))


def _expert_block(expert: int) -> str:
    return f"{('cb', 'rb')[expert]}_block" if expert < 2 else f"expert{expert}_block"
