"""ResNets for small images (He et al. 2016, section 4.2; LDAM's ``ResNet_s``): depth 6 n + 2."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from gcl_jax.models.conv import Conv3x3
from gcl_jax.models.norm import BatchNorm


class BasicBlock(nn.Module):
    """conv-BN-ReLU-conv-BN plus an option-A shortcut: every second pixel, zero channels on both sides."""

    filters: int
    stride: int
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        y = Conv3x3(self.filters, self.stride, self.dtype, name="conv1")(x)
        y = nn.relu(BatchNorm(dtype=self.dtype, name="bn1")(y, train=train))
        y = Conv3x3(self.filters, dtype=self.dtype, name="conv2")(y)
        y = BatchNorm(dtype=self.dtype, name="bn2")(y, train=train)
        missing = self.filters - x.shape[-1]
        if self.stride != 1 or missing:
            x = x[:, :: self.stride, :: self.stride]
            x = jnp.pad(x, ((0, 0), (0, 0), (0, 0), (missing // 2, missing - missing // 2)))
        return nn.relu(y + x)


class ResNetCifar(nn.Module):
    """Images [B, H, W, c] -> features [B, 64]: stem, three stages of ``blocks`` at 16, 32, 64 filters, mean pool."""

    blocks: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array, *, train: bool) -> jax.Array:
        x = Conv3x3(16, dtype=self.dtype, name="conv1")(images)
        x = nn.relu(BatchNorm(dtype=self.dtype, name="bn1")(x, train=train))
        for stage, filters in enumerate((16, 32, 64), start=1):
            for block in range(self.blocks):
                stride = 2 if stage > 1 and block == 0 else 1
                x = BasicBlock(filters, stride, self.dtype, name=f"layer{stage}_{block}")(x, train=train)
        return jnp.mean(x.astype(jnp.promote_types(x.dtype, jnp.float32)), axis=(1, 2))
