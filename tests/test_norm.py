"""Batch normalization against torch's: outputs, and running statistics with the unbiased variance."""

import jax.numpy as jnp
import numpy as np
from conftest import relative_error

from gcl_jax.models.norm import BatchNorm


def trained(reference):
    """Outputs and running statistics after each of the reference's batches, and the variables at the end."""
    at = "torch/batch_norm"
    params = {"scale": jnp.asarray(reference[f"{at}/gamma"]), "bias": jnp.asarray(reference[f"{at}/beta"])}
    stats = {"mean": jnp.zeros(3), "var": jnp.ones(3)}
    outputs, history = [], []
    for x in reference[f"{at}/inputs_nchw"]:
        y, moved = BatchNorm().apply(
            {"params": params, "batch_stats": stats}, x.transpose(0, 2, 3, 1), train=True, mutable=["batch_stats"]
        )
        stats = moved["batch_stats"]
        outputs.append(np.transpose(y, (0, 3, 1, 2)))
        history.append(stats)
    return outputs, history, {"params": params, "batch_stats": stats}


def test_training_outputs(losses_contrastive):
    outputs, _, _ = trained(losses_contrastive)
    assert relative_error(outputs, losses_contrastive["torch/batch_norm/train_outputs"]) <= 1e-5


def test_running_statistics(losses_contrastive):
    _, history, _ = trained(losses_contrastive)
    for ours, theirs in (("mean", "running_mean"), ("var", "running_var")):
        assert relative_error([s[ours] for s in history], losses_contrastive[f"torch/batch_norm/{theirs}"]) <= 1e-5


def test_evaluation_output(losses_contrastive):
    _, _, variables = trained(losses_contrastive)
    x = losses_contrastive["torch/batch_norm/inputs_nchw"][-1].transpose(0, 2, 3, 1)
    y = np.transpose(BatchNorm().apply(variables, x, train=False), (0, 3, 1, 2))
    assert relative_error(y, losses_contrastive["torch/batch_norm/eval_output_of_last_input"]) <= 1e-5
