"""Mixup (Zhang et al. 2018): one lambda and one permutation for the global batch.

    x = lam * x + (1 - lam) * x[perm],   loss = lam * L(y) + (1 - lam) * L(y[perm])

Fixed points of the permutation are allowed, as in the published code. The step computes the loss once for each of the
``targets``, so a loss that draws noise draws it afresh for each (GCL's published code does).
"""

import jax

from gcl_jax import rng


def mix(key: jax.Array, batch: dict, alpha: float) -> dict:
    """Mix a batch {image [B, ...], label int[B]}; adds ``targets`` ((label, lam), (label of the other, 1 - lam)).

    lam ~ Beta(alpha, alpha); ``alpha`` = 0 is a static "off": the batch is returned as it is.

    >>> import jax.numpy as jnp
    >>> b = mix(jax.random.key(0), {"image": jnp.ones((4, 2)), "label": jnp.arange(4)}, 1.0)
    >>> b["image"].shape, sorted(b), len(b["targets"])
    ((4, 2), ['image', 'label', 'targets'], 2)
    """
    if alpha == 0:
        return batch
    image, label = batch["image"], batch["label"]
    lam = jax.random.beta(rng.fold(key, "lambda"), alpha, alpha, dtype=image.dtype)
    order = jax.random.permutation(rng.fold(key, "permutation"), len(label))
    targets = ((label, lam), (label[order], 1 - lam))
    return {**batch, "image": lam * image + (1 - lam) * image[order], "targets": targets}
