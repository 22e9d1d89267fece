"""A metric from stored logits: how much a classifier leans toward classes with many training images.

--config.eval.metrics="('head_bias',)"
"""

import numpy as np

from gcl_jax.metrics import METRICS


def head_bias(logits: np.ndarray, labels: np.ndarray, counts: np.ndarray) -> dict[str, float]:
    """Of the predictions that are wrong, the percent that name a class with more training images; and their mean rank.

    The rank is that of the label among the logits of such images, from 1 (the second largest) on.
    """
    predicted = logits.argmax(1)
    wrong = predicted != labels
    if not wrong.any():
        return {"toward_head": 0.0, "rank": 0.0}
    of_label = logits[np.arange(len(labels)), labels]
    rank = (logits > of_label[:, None]).sum(1)
    toward_head = counts[predicted] > counts[labels]
    return {"toward_head": float(100 * toward_head[wrong].mean()), "rank": float(rank[wrong].mean())}


METRICS.register("head_bias", head_bias)
