"""ResNets and ResNeXts for photographs (He et al. 2016, section 4.1; Xie et al. 2017), as torchvision builds them."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from gcl_jax.models import conv
from gcl_jax.models.cut import run_blocks
from gcl_jax.models.features import Features
from gcl_jax.models.norm import BatchNorm
from gcl_jax.models.pool import max_pool, mean_pool
from gcl_jax.registry import option

Conv = partial(conv.Conv, kernel_init=nn.initializers.variance_scaling(2.0, "fan_out", "normal"))
# Each block starts as its shortcut (Goyal et al. 2017, section 5.1).
LastNorm = partial(BatchNorm, scale_init=nn.initializers.zeros)


def _shortcut(x, channels, stride, dtype, train):
    """x, or its projection (option B) where the shape changes; parameters belong to the calling block."""
    if stride == 1 and x.shape[-1] == channels:
        return x
    x = Conv(channels, stride, dtype, size=1, name="downsample_conv")(x)
    return BatchNorm(dtype=dtype, name="downsample_bn")(x, train=train)


class BasicBlock(nn.Module):
    """conv3-BN-ReLU-conv3-BN plus the shortcut, then ReLU: ``filters`` channels out."""

    filters: int
    stride: int
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        y = Conv(self.filters, self.stride, self.dtype, name="conv1")(x)
        y = nn.relu(BatchNorm(dtype=self.dtype, name="bn1")(y, train=train))
        y = Conv(self.filters, dtype=self.dtype, name="conv2")(y)
        y = LastNorm(dtype=self.dtype, name="bn2")(y, train=train)
        return nn.relu(y + _shortcut(x, self.filters, self.stride, self.dtype, train))


class Bottleneck(nn.Module):
    """conv1-BN-ReLU-conv3-BN-ReLU-conv1-BN plus the shortcut, then ReLU: 4 ``filters`` channels out.

    The stride is the 3 x 3 convolution's ("v1.5"), which has ``groups`` of ``filters`` * ``group_width`` / 64 channels.
    """

    filters: int
    stride: int
    dtype: jnp.dtype
    groups: int = 1
    group_width: int = 64

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        width = self.filters * self.group_width // 64 * self.groups
        y = Conv(width, dtype=self.dtype, size=1, name="conv1")(x)
        y = nn.relu(BatchNorm(dtype=self.dtype, name="bn1")(y, train=train))
        y = Conv(width, self.stride, self.dtype, groups=self.groups, name="conv2")(y)
        y = nn.relu(BatchNorm(dtype=self.dtype, name="bn2")(y, train=train))
        y = Conv(4 * self.filters, dtype=self.dtype, size=1, name="conv3")(y)
        y = LastNorm(dtype=self.dtype, name="bn3")(y, train=train)
        return nn.relu(y + _shortcut(x, 4 * self.filters, self.stride, self.dtype, train))


class ResNet(nn.Module):
    """Images [B, H, W, c] -> `Features` of D = 512 or 2048: stem, stages of ``layers`` blocks, mean pool.

    Where ``train`` is on, batch norm uses batch statistics, with ``bn_scope`` that of the block of this name alone.

    Stage i, from 1, has 64 * 2^(i - 1) filters and halves the map, but for the first; its blocks are `Bottleneck`, with
    ``groups`` of ``group_width``, or `BasicBlock`. ``map`` is [B, H / 32, W / 32, D]. With ``remat`` the backward pass
    computes each block again instead of keeping what is inside: same values, less memory. The blocks are "stem",
    "layer1_0", ...: with ``upto`` the activations after that block, with ``start`` it is these that come in.

    >>> network, images = ResNet(layers=(2, 2, 2, 2), bottleneck=False), jnp.zeros((2, 64, 64, 3))  # ResNet-18
    >>> out = jax.eval_shape(lambda: network.init_with_output(jax.random.key(0), images, train=False)[0])
    >>> out.pooled.shape, out.map.shape
    ((2, 512), (2, 2, 2, 512))
    """

    layers: tuple[int, ...]
    bottleneck: bool = True
    groups: int = 1
    group_width: int = 64
    dtype: jnp.dtype = jnp.float32
    remat: bool = option(False)

    @nn.compact
    def __call__(
        self, images: jax.Array, *, train: bool, bn_scope: str = "", start: str = "", upto: str = ""
    ) -> Features | jax.Array:
        kind = Bottleneck if self.bottleneck else BasicBlock
        options = {"groups": self.groups, "group_width": self.group_width} if self.bottleneck else {}
        if self.remat:
            kind = nn.remat(kind, static_argnums=(2,))  # ``train``

        def stem(x):
            x = Conv(64, 2, self.dtype, size=7, name="conv1")(x)
            x = nn.relu(BatchNorm(dtype=self.dtype, name="bn1")(x, train=train and not bn_scope))
            return max_pool(x)

        def block(name, *shape):
            return lambda x: kind(*shape, self.dtype, **options, name=name)(x, train and bn_scope in ("", name))

        layout = [
            (f"layer{stage}_{place}", 64 << (stage - 1), 2 if stage > 1 and place == 0 else 1)
            for stage, blocks in enumerate(self.layers, start=1)
            for place in range(blocks)
        ]
        named = [("stem", stem), *((name, block(name, *shape)) for name, *shape in layout)]
        x = run_blocks(named, images, start=start, upto=upto)
        return x if upto else Features(pooled=mean_pool(x), map=x)
