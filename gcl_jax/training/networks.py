"""The network of a stage, as its config says: built here for training, for prediction, and for a look at its shapes."""

from ml_collections import ConfigDict

from gcl_jax import models
from gcl_jax.models import Network
from gcl_jax.runtime import backend


def build_network(config: ConfigDict, stage: str, num_classes: int) -> Network:
    """The network of ``stage`` for ``num_classes`` classes."""
    return models.build(config.model.to_dict(), config[stage].head, num_classes, backend.DTYPES[config.precision])
