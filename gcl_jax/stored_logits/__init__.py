"""Logits of every example of a split, as a stage leaves them in its folder: written in pieces, read by `read`.

``STAGE/logits_SPLIT.npz`` holds

    version       1
    logits        float16[N, C]: z - max_j z_j, in the order of the split; its softmax is that of z
    top           float32[N]: max_j z_j
    experts, experts_top   float16[N, K, C] and float32[N, K]: the same of each expert, where the method has experts
    label         int32[N]
    class_names   str[C]
    class_counts  int64[C]: training images
    file          str[N]: names of photographs; not there for other images

z are the logits that evaluation uses, after config.posthoc. float16 rounds the gap to the largest logit rather than
the logit: the predicted class stays (but for gaps below 3e-8), and every other logit is within 2^-11 (0.05 %) of its
gap; a gap of more than 65,504 becomes that.
"""

from gcl_jax.stored_logits.layout import SPLITS, path, rounded
from gcl_jax.stored_logits.reader import StoredLogits, read
from gcl_jax.stored_logits.writer import Writer

__all__ = ["SPLITS", "StoredLogits", "Writer", "path", "read", "rounded"]
