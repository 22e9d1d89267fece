"""What re-balanced losses make of the class counts: weights, margins, smoothing sizes, log priors.

Pure numpy in float64, on the host and once a stage; ``counts`` int[C] are training images per class, at least one
each. On balanced counts every weight here leaves the plain cross-entropy: weights of 1, equal priors, and for
smoothing the size of the rarest class.
"""

import numpy as np

from gcl_jax.errors import require, require_one_of
from gcl_jax.longtail import require_images


def _summing_to_classes(weights):
    return weights * len(weights) / weights.sum()


def effective_number_weights(counts: np.ndarray, beta: float = 0.9999) -> np.ndarray:
    """Class-balanced weights, float64[C]: w_j ~ (1 - beta) / (1 - beta^n_j), summing to C (Cui et al. 2019).

    LDAM-DRW (Cao et al. 2019) takes them as the weights of the late epochs. beta = 0 is no weighting, beta -> 1
    tends to 1 / n_j. Raises UserError for beta outside [0, 1) or an empty class.

    >>> effective_number_weights(np.array([3, 1]), beta=0.5).round(4).tolist()
    [0.7273, 1.2727]
    """
    n = require_images(counts)
    require(0 <= beta < 1, "beta", beta, "in [0, 1)")
    return _summing_to_classes((1 - beta) / (1 - beta**n))


def generalized_weights(counts: np.ndarray, rho: float = 1.2) -> np.ndarray:
    """Generalized re-weighting, float64[C]: w_j ~ (1 / pi_j)^rho with pi_j = n_j / N, summing to C (DisAlign).

    Zhang et al. 2021; 1.2 on ImageNet-LT. rho = 0 is no weighting, rho = 1 inverse frequency. Raises UserError for
    negative rho or an empty class.

    >>> generalized_weights(np.array([3, 1]), rho=1.0).tolist()
    [0.5, 1.5]
    """
    n = require_images(counts)
    require(rho >= 0, "rho", rho, "at least 0")
    return _summing_to_classes((n / n.sum()) ** -rho)


def ldam_margins(counts: np.ndarray, max_margin: float = 0.5) -> np.ndarray:
    """LDAM's margins, float64[C]: m_j = max_margin * n_j^(-1/4) / max_k n_k^(-1/4) (Cao et al. 2019).

    Raises UserError for an empty class.

    >>> ldam_margins(np.array([16, 1])).tolist()
    [0.25, 0.5]
    """
    m = require_images(counts) ** -0.25
    return max_margin * m / m.max()


SMOOTHING_SHAPES = ("concave", "linear", "convex", "power")


def smoothing_sizes(
    counts: np.ndarray, head: float, tail: float, shape: str = "concave", exponent: float = 2.0
) -> np.ndarray:
    """Label-aware smoothing's eps of each class, float64[C], ``tail`` to ``head`` (MiSLAS, Zhong et al. 2021).

    eps_j = tail + (head - tail) * g(x_j) with x_j = (n_j - n_min) / (n_max - n_min) and g(x) =
    concave: sin(pi x / 2);  linear: x;  convex: 1 - cos(pi x / 2);  power: x^exponent.
    ``head`` and ``tail`` are the paper's eps_1 and eps_K. Balanced counts, where x is 0/0, all get ``tail``.

    Raises UserError for sizes outside [0, 1], an unknown shape or an exponent that is not positive.

    >>> smoothing_sizes(np.array([101, 51, 1]), head=0.3, tail=0.1).round(4).tolist()
    [0.3, 0.2414, 0.1]
    """
    n = require_images(counts)
    require(0 <= head <= 1, "smoothing of the head", head, "in [0, 1]")
    require(0 <= tail <= 1, "smoothing of the tail", tail, "in [0, 1]")
    require_one_of("smoothing shape", shape, SMOOTHING_SHAPES)
    require(exponent > 0, "smoothing exponent", exponent, "positive")
    x = (n - n.min()) / max(n.max() - n.min(), 1.0)  # counts are whole numbers: 0 / 0 becomes 0 / 1
    if shape == "concave":
        g = np.sin(np.pi * x / 2)
    elif shape == "linear":
        g = x
    elif shape == "convex":
        g = 1 - np.cos(np.pi * x / 2)
    else:
        g = x**exponent
    return tail + (head - tail) * g


def log_priors(counts: np.ndarray) -> np.ndarray:
    """Log class priors, float64[C]: log(n_j / N), for `losses.logit_adjusted` (Menon et al. 2021).

    Raises UserError for an empty class.

    >>> np.exp(log_priors(np.array([3, 1]))).tolist()
    [0.75, 0.25]
    """
    n = require_images(counts)
    return np.log(n / n.sum())
