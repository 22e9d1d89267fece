"""ResNets for small images (He et al. 2016, section 4.2; LDAM's ``ResNet_s``): depth 6 n + 2."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from gcl_jax.models.conv import Conv
from gcl_jax.models.norm import BatchNorm
from gcl_jax.models.pool import mean_pool


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
    """Images [B, H, W, c] -> features [B, 64]: stem, three stages of ``blocks`` at 16, 32, 64 filters, mean pool.

    Without ``pool`` the map before it, [B, H / 4, W / 4, 64].
    With ``two_branches`` the last block exists twice, ``cb_block`` and ``rb_block`` (BBN, Zhou et al. 2020): features
    of both side by side, [B, 128], or of one alone where ``branch`` is "cb" (conventional) or "rb" (re-balancing).
    """

    blocks: int
    dtype: jnp.dtype = jnp.float32
    two_branches: bool = False

    @nn.compact
    def __call__(self, images: jax.Array, *, train: bool, pool: bool = True, branch: str = "") -> jax.Array:
        x = Conv(16, dtype=self.dtype, name="conv1")(images)
        x = nn.relu(BatchNorm(dtype=self.dtype, name="bn1")(x, train=train))
        layout = [
            (stage, block, filters, 2 if stage > 1 and block == 0 else 1)
            for stage, filters in enumerate((16, 32, 64), start=1)
            for block in range(self.blocks)
        ]
        trunk, (*_, filters, stride) = (layout[:-1] if self.two_branches else layout), layout[-1]
        for stage, block, *shape in trunk:
            x = BasicBlock(*shape, self.dtype, name=f"layer{stage}_{block}")(x, train=train)
        if not self.two_branches:
            return mean_pool(x) if pool else x
        ends = [branch] if branch else ["cb", "rb"]
        last = [BasicBlock(filters, stride, self.dtype, name=f"{end}_block")(x, train=train) for end in ends]
        return jnp.concatenate([mean_pool(y) if pool else y for y in last], axis=-1)
