"""Mixup (Zhang et al. 2018): one lambda and one permutation for the global batch.

    x = lam * x + (1 - lam) * x[perm],   loss = lam * L(y) + (1 - lam) * L(y[perm])

Fixed points of the permutation are allowed, as in the published code. L is called twice,
so a loss that draws noise draws it afresh for each term (GCL's published code does).
"""

from collections.abc import Callable

import jax

from gcl_jax import rng


def mix(key: jax.Array, batch: dict, alpha: float) -> dict:
    """Mix a batch {image [B, ...], label int[B]}; adds ``label_b`` int[B] and scalar ``lam`` ~ Beta(alpha, alpha).

    ``alpha`` = 0 is a static "off": the batch is returned as it is.

    >>> import jax.numpy as jnp
    >>> b = mix(jax.random.key(0), {"image": jnp.ones((4, 2)), "label": jnp.arange(4)}, 1.0)
    >>> b["image"].shape, sorted(b)
    ((4, 2), ['image', 'label', 'label_b', 'lam'])
    """
    if alpha == 0:
        return batch
    image, label = batch["image"], batch["label"]
    lam = jax.random.beta(rng.fold(key, "lambda"), alpha, alpha, dtype=image.dtype)
    order = jax.random.permutation(rng.fold(key, "permutation"), len(label))
    return {**batch, "image": lam * image + (1 - lam) * image[order], "label_b": label[order], "lam": lam}


def mixed_loss(key: jax.Array, batch: dict, loss: Callable[[jax.Array, jax.Array], jax.Array]) -> jax.Array:
    """Apply ``loss(key, labels) -> [B]`` to both label sets of a mixed batch; once if it is not mixed.

    >>> import jax.numpy as jnp
    >>> plain = {"label": jnp.array([1, 2])}
    >>> mixed_loss(jax.random.key(0), plain, lambda key, y: y * 1.0).tolist()
    [1.0, 2.0]
    """
    first = loss(rng.fold(key, "first"), batch["label"])
    if "lam" not in batch:
        return first
    return batch["lam"] * first + (1 - batch["lam"]) * loss(rng.fold(key, "second"), batch["label_b"])
