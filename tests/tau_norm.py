"""Tau-normalisation through its method and head, for the tests that compare it."""

from gcl_jax import methods
from gcl_jax.models import HEADS


def tau_norm(features, kernel, tau, *, bias=None, scale=1.0):
    """Logits of the method as a run takes them: of a linear head with ``bias``, of a cosine head without."""
    method = methods.TauNorm(tau=tau, scale=scale)
    head = {"kernel": kernel} | ({} if bias is None else {"bias": bias})
    params = method.init_params(None, {"params": {"head": head}}, None)["head"]
    return method.logits(
        {
            "scores": HEADS["half_cosine" if bias is None else "linear"](num_classes=kernel.shape[1]).apply(
                {"params": params}, features
            )
        }
    )
