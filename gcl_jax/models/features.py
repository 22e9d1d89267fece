"""What a backbone makes of images."""

import jax
from flax import struct


@struct.dataclass
class Features:
    """What a backbone returns; a head takes one of the fields, by name (its ``takes``), or all of them.

    ``pooled`` [B, D] or, of several experts, [B, K * D]; ``map`` [B, H, W, D], the last feature map; ``tokens``
    [B, T, D], of a transformer. None is what there is not.
    """

    pooled: jax.Array | None = None
    map: jax.Array | None = None
    tokens: jax.Array | None = None
